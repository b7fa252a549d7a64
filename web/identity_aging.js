// Says what our nodes say where the person looks: the front end's own message of an error gives no reason.
import { app } from '../../scripts/app.js'
import { api } from '../../scripts/api.js'

const LIFE = 30_000 // ms
const ours = (type) => type?.startsWith('IDAging')

let said = []

function say(nodeId, type, sentence, severity = 'error') {
  const summary = app.graph.getNodeById(nodeId)?.title ?? type
  const message = { severity, summary, detail: sentence.trim(), life: LIFE }
  said.push(message)
  app.extensionManager.toast.add(message)
}

// What was said of the last run, when the next one begins.
function takeBack() {
  said.forEach((message) => app.extensionManager.toast.remove(message))
  said = []
}

// ComfyUI blames all inputs that a node checks together; a sentence that begins with one of them is about that one.
function blameTheOneMeant(errors) {
  const blamed = errors.map(({ extra_info: info }) => info?.input_name)
  return errors.filter(({ details, extra_info: info }) => {
    const meant = blamed.find((input) => details.startsWith(`${info?.input_name} - ${input}: `))
    return !meant || meant === info.input_name
  })
}

function sayWhyRefused(nodeErrors) {
  for (const [id, refused] of Object.entries(nodeErrors ?? {})) {
    const type = refused.class_type
    if (!ours(type)) continue
    refused.errors = blameTheOneMeant(refused.errors) // before the front end marks them
    const why = refused.errors.filter((error) => error.type === 'custom_validation_failed')
    // ComfyUI puts the input's name in front, once for each of those that it blames; so does what blames one alone
    const sentences = why.map(({ details, extra_info: { input_name: input } }) =>
      details.replace(`${input} - `, '').replace(`${input}: `, '')
    )
    for (const sentence of new Set(sentences)) say(id, type, sentence)
  }
}

// Text that a node gave out stays on it, also when the node was found in the cache; progress_text is how ComfyUI shows any.
function keepOnNode(nodeId, text) {
  if (text && ours(app.graph.getNodeById(nodeId)?.type))
    api.dispatchCustomEvent('progress_text', { nodeId: String(nodeId), text: [text].flat().join('\n') })
}

// ComfyUI lists a pack's graphs as the disk happens to.
const FIRST = ['train_subject', 'try_it_here']
const PACK = decodeURIComponent(new URL(import.meta.url).pathname.split('/').at(-2))
const place = (graph) => (FIRST.indexOf(graph) + 1 || FIRST.length + 1) + graph
const getWorkflowTemplates = api.getWorkflowTemplates
api.getWorkflowTemplates = async function () {
  const listed = await getWorkflowTemplates.call(this)
  listed[PACK]?.sort((one, other) => place(one).localeCompare(place(other)))
  return listed
}

// Inputs that mean nothing with what is chosen are out of sight, and so are advanced ones where nodes are drawn on the
// canvas, until asked for. Values and their places stay, so that graphs open in every version.
const watchedOptions = (widget) => widget._state?.options ?? widget.options // the first is what Nodes 2.0 looks at

function hideWhatDoesNotCount(node, rules) {
  const value = (name) => node.widgets.find((widget) => widget.name === name)?.value
  const linked = (name) => node.inputs?.some((slot) => slot.widget?.name === name && slot.link != null)
  for (const [widget, rule] of rules) {
    const fits = (values, chosen) => (values === true ? Boolean(chosen) : values.includes(chosen))
    const counts = Object.entries(rule).every(([name, values]) => linked(name) || fits(values, value(name)))
    widget.hidden = watchedOptions(widget).hidden = !counts && !linked(widget.name)
  }
}

// The canvas draws no advanced widget until asked for, but leaves room for all that are not hidden.
function foldAdvanced(node, widget) {
  let hidden = false
  Object.defineProperty(widget, 'hidden', {
    get: () => hidden || (widget.advanced && !node.showAdvanced && !window.LiteGraph.vueNodesMode),
    set: (value) => (hidden = value)
  })
}

function fit(node) {
  node.setSize([node.size[0], node.computeSize()[1]])
  app.canvas?.setDirty(true, true)
}

// Lists into which other values can be linked were number and text fields once: what older graphs hold is listed too.
function listSavedValue(widget) {
  const { values } = widget.options
  if (values.includes(widget.value)) return
  if (widget.value === 0 && values.includes('auto')) widget.value = 'auto'
  else widget.options.values = watchedOptions(widget).values = [...values, widget.value]
}

function followChoices(node) {
  const { required, optional } = node.constructor.nodeData.input
  const described = { ...required, ...optional }
  const known = (node.widgets ?? []).filter(({ name }) => name in described)
  for (const widget of known) {
    widget.advanced ||= Boolean(described[widget.name][1]?.advanced)
    foldAdvanced(node, widget)
  }
  const lists = known.filter(({ name }) => String(described[name][0]).startsWith('COMBO,'))
  const rules = known.map((widget) => [widget, described[widget.name][1]?.only_with]).filter(([, rule]) => rule)
  const follow = () => hideWhatDoesNotCount(node, rules)
  const after = (owner, method, then) => {
    const before = owner[method]
    owner[method] = function (...given) {
      const result = before?.apply(this, given)
      then()
      return result
    }
  }
  after(node, 'onConfigure', () => {
    lists.forEach(listSavedValue)
    follow()
  })
  after(node, 'toggleAdvanced', () => fit(node))
  const choices = new Set(rules.flatMap(([, rule]) => Object.keys(rule)))
  for (const widget of known.filter(({ name }) => choices.has(name)))
    after(widget, 'callback', () => {
      follow()
      fit(node)
    })
  follow()
}

app.registerExtension({
  name: 'IdentityAging.Sentences',
  nodeCreated(node) {
    if (ours(node.comfyClass)) followChoices(node)
  },
  setup() {
    api.addEventListener('execution_error', ({ detail }) => {
      if (ours(detail.node_type)) say(detail.node_id, detail.node_type, detail.exception_message)
    })
    api.addEventListener('executed', ({ detail }) => keepOnNode(detail.display_node ?? detail.node, detail.output?.text))
    api.addEventListener('identity_aging.warning', ({ detail }) => {
      say(detail.node_id, 'Identity Aging', detail.sentence, 'warn')
    })
    const queuePrompt = api.queuePrompt
    api.queuePrompt = async function (...prompt) {
      takeBack()
      try {
        const answer = await queuePrompt.apply(this, prompt)
        sayWhyRefused(answer?.node_errors) // of one branch, while others run
        return answer
      } catch (error) {
        sayWhyRefused(error.response?.node_errors)
        throw error
      }
    }
  }
})
