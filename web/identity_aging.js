// Shows our nodes' errors and warnings as toasts, because the front end's own error message does not give the reason.
import { app } from '../../scripts/app.js'
import { api } from '../../scripts/api.js'
import { clearText, followTabs, leaveTab, queuedNode, remember, showText } from './node_text.js'

const LIFETIME = 30_000 // ms, of a toast
const isOurs = (type) => type?.startsWith('IDAging')

let toasts = []

function showToast(node, sentence, severity = 'error') {
  const summary = node?._meta?.title ?? node?.class_type ?? 'Identity Aging'
  const toast = { severity, summary, detail: sentence.trim(), life: LIFETIME }
  toasts.push(toast)
  app.extensionManager.toast.add(toast)
}

// Removes the toasts of the last run.
function removeToasts() {
  toasts.forEach((toast) => app.extensionManager.toast.remove(toast))
  toasts = []
}

// ComfyUI marks all inputs that a node checks together. If the error starts with the name of one, marks only that one.
function keepNamedInput(errors) {
  const marked = errors.map(({ extra_info: info }) => info?.input_name)
  return errors.filter(({ details, extra_info: info }) => {
    const named = marked.find((input) => details.startsWith(`${info?.input_name} - ${input}: `))
    return !named || named === info.input_name
  })
}

function showValidationErrors(nodeErrors, nodes) {
  for (const [id, rejected] of Object.entries(nodeErrors ?? {})) {
    if (!isOurs(rejected.class_type)) continue
    rejected.errors = keepNamedInput(rejected.errors) // before the front end marks the inputs
    const failures = rejected.errors.filter((error) => error.type === 'custom_validation_failed')
    // ComfyUI repeats the message per marked input, with its name in front; blame_only puts a name in front too
    const sentences = failures.map(({ details, extra_info: { input_name: input } }) =>
      details.replace(`${input} - `, '').replace(`${input}: `, '')
    )
    for (const sentence of new Set(sentences)) showToast(nodes[id], sentence)
  }
}

// The front end offers no event for a rejected prompt, so this wraps its request. When the request fails, as while the
// server restarts, its error dialog blames whatever extension is on the stack: this one takes itself off.
function watchQueue() {
  const queuePrompt = api.queuePrompt
  api.queuePrompt = async function (number, prompt, ...options) {
    removeToasts()
    try {
      const request = queuePrompt.call(this, number, prompt, ...options)
      remember(request, prompt.output)
      const answer = await request
      showValidationErrors(answer.node_errors, prompt.output) // one branch may be rejected while others run
      return answer
    } catch (error) {
      showValidationErrors(error.response?.node_errors, prompt.output)
      error.stack = error.stack?.split('\n').filter((line) => !line.includes(import.meta.url)).join('\n')
      throw error
    }
  }
}

// ComfyUI lists the templates of an extension in file system order. Show the best ones for beginners first.
const FIRST = ['train_subject', 'try_it_here']
const PACK = decodeURIComponent(new URL(import.meta.url).pathname.split('/').at(-2))
const sortKey = (graph) => (FIRST.indexOf(graph) + 1 || FIRST.length + 1) + graph
const getWorkflowTemplates = api.getWorkflowTemplates
api.getWorkflowTemplates = async function () {
  const templates = await getWorkflowTemplates.call(this)
  templates[PACK]?.sort((a, b) => sortKey(a).localeCompare(sortKey(b)))
  return templates
}

// Inputs without effect are hidden. So are advanced ones on canvas nodes, until the user shows them. Values keep their
// positions, so that graphs open in every version.
const activeOptions = (widget) => widget._state?.options ?? widget.options // Nodes 2.0 reads the first

function hideUnusedInputs(node, rules) {
  const value = (name) => node.widgets.find((widget) => widget.name === name)?.value
  const linked = (name) => node.inputs?.some((slot) => slot.widget?.name === name && slot.link != null)
  for (const [widget, rule] of rules) {
    const matches = (values, chosen) => (values === true ? Boolean(chosen) : values.includes(chosen))
    const used = Object.entries(rule).every(([name, values]) => linked(name) || matches(values, value(name)))
    widget.hidden = activeOptions(widget).hidden = !used && !linked(widget.name)
  }
}

// The canvas does not show advanced widgets by default, but leaves space for them unless they are hidden.
function hideAdvanced(node, widget) {
  let hidden = false
  Object.defineProperty(widget, 'hidden', {
    get: () => hidden || (widget.advanced && !node.showAdvanced && !window.LiteGraph.vueNodesMode),
    set: (value) => (hidden = value)
  })
}

function resize(node) {
  node.setSize([node.size[0], node.computeSize()[1]])
  app.canvas?.setDirty(true, true)
}

// Some lists were number or text fields in earlier versions. Adds the value from an older graph; 0 becomes auto.
function addSavedValue(widget) {
  const { values } = widget.options
  const listed = values.find((each) => String(each) === String(widget.value))
  if (listed !== undefined) widget.value = listed
  else if (widget.value === 0 && values.includes('auto')) widget.value = 'auto'
  else widget.options.values = activeOptions(widget).values = [...values, widget.value]
}

// Shows and hides widgets as the values they depend on change.
function updateVisibility(node) {
  const { required, optional } = node.constructor.nodeData.input
  const schema = { ...required, ...optional }
  const widgets = (node.widgets ?? []).filter(({ name }) => name in schema)
  for (const widget of widgets) {
    widget.advanced ||= Boolean(schema[widget.name][1]?.advanced)
    hideAdvanced(node, widget)
  }
  const lists = widgets.filter(({ name }) => String(schema[name][0]).startsWith('COMBO,'))
  const rules = widgets.map((widget) => [widget, schema[widget.name][1]?.only_with]).filter(([, rule]) => rule)
  const update = () => hideUnusedInputs(node, rules)
  const runAfter = (owner, method, callback) => {
    const original = owner[method]
    owner[method] = function (...args) {
      const result = original?.apply(this, args)
      callback()
      return result
    }
  }
  runAfter(node, 'onConfigure', () => {
    lists.forEach(addSavedValue)
    update()
  })
  runAfter(node, 'toggleAdvanced', () => resize(node))
  const conditions = new Set(rules.flatMap(([, rule]) => Object.keys(rule)))
  for (const widget of widgets.filter(({ name }) => conditions.has(name)))
    runAfter(widget, 'callback', () => {
      update()
      resize(node)
    })
  update()
}

app.registerExtension({
  name: 'IdentityAging.Sentences',
  nodeCreated(node) {
    if (isOurs(node.comfyClass)) updateVisibility(node)
  },
  beforeConfigureGraph: leaveTab,
  setup() {
    api.addEventListener('execution_error', ({ detail }) => {
      if (isOurs(detail.node_type)) showToast(queuedNode(detail.prompt_id, detail.node_id), detail.exception_message)
    })
    // a node's output text stays on it, also after a cache hit
    api.addEventListener('executed', ({ detail }) => {
      const text = [detail.output?.text ?? []].flat().join('\n')
      if (text) showText(detail.prompt_id, detail.display_node ?? detail.node, text)
    })
    api.addEventListener('identity_aging.text', ({ detail }) => {
      showText(detail.prompt_id, detail.node_id, detail.text)
    })
    api.addEventListener('identity_aging.warning', ({ detail }) => {
      showToast(queuedNode(detail.prompt_id, detail.node_id), detail.sentence, 'warn')
    })
    api.addEventListener('execution_start', ({ detail }) => clearText(detail.prompt_id))
    followTabs()
    watchQueue()
  }
})
