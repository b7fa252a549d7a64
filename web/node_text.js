// Shows our nodes' text on the nodes of the graph that was queued, which is not always the open one. The front end's own
// text widget goes by node id alone, breaks lines inside words and, in Nodes 2.0, drops line breaks.
import { app } from '../../scripts/app.js'

const WIDGET = 'identity_aging_text' // its name and type on a node; Nodes 2.0 shows a widget of type text as an input
const LEAST = 58 // px, height
const MOST = 110
const STYLE =
  `box-sizing: border-box; width: 100%; height: 100%; max-height: ${MOST}px; padding: 6px 12px; ` +
  'overflow-y: auto; font-size: 12px; color: var(--input-text); white-space: pre-line; word-break: normal; ' +
  'overflow-wrap: anywhere'

const openWorkflow = () => app.extensionManager.workflow.activeWorkflow
const isOurs = (type) => type?.startsWith('IDAging')

const jobs = new Map() // by prompt id: the workflow that was queued and its nodes in API format
const texts = new WeakMap() // by workflow: the last text by node id
let shown // the workflow whose nodes are in the graph; undefined while another one is being loaded
let queueing = Promise.resolve() // the request in flight: a short job may end before the server's answer is here

// Remembers which workflow the prompt belongs to whose ``request`` to the server was just sent.
export function remember(request, nodes) {
  const workflow = openWorkflow()
  queueing = request.then(({ prompt_id: id }) => jobs.set(id, { workflow, nodes })).catch(() => {})
}

// A queued node in API format. Jobs from before the page was loaded are unknown: then the open graph's node.
export function queuedNode(promptId, id) {
  const job = jobs.get(promptId)
  if (job) return job.nodes[id]
  const node = findNode(id)
  return node && { class_type: node.comfyClass, _meta: { title: node.title } }
}

export async function showText(promptId, id, text) {
  await queueing
  if (!isOurs(queuedNode(promptId, id)?.class_type)) return
  const workflow = jobs.get(promptId)?.workflow ?? shown
  if (!workflow) return
  texts.set(workflow, { ...texts.get(workflow), [id]: text })
  if (workflow === shown) put(id, text)
}

// When a job starts, the text of the one before goes.
export async function clearText(promptId) {
  await queueing
  for (const id of Object.keys(texts.get(jobs.get(promptId)?.workflow) ?? {})) showText(promptId, id, '')
}

// When another workflow is loaded into the graph, its nodes get back their text, and what came while it was away.
export function followTabs() {
  shown = openWorkflow()
  app.extensionManager.workflow.$onAction(({ name, after }) => {
    if (name !== 'openWorkflow') return
    after(() => {
      shown = openWorkflow()
      Object.entries(texts.get(shown) ?? {}).forEach(([id, text]) => put(id, text))
    })
  })
}

export function leaveTab() {
  shown = undefined
}

// "5:2" is node 2 in the subgraph of node 5.
function findNode(id) {
  let graph = app.graph
  let node
  for (const part of String(id).split(':')) {
    node = graph?.getNodeById(part)
    graph = node?.subgraph
  }
  return node
}

function put(id, text) {
  const node = findNode(id)
  if (!node) return
  const widget = node.widgets?.find(({ name }) => name === WIDGET) ?? (text && addWidget(node))
  if (widget) widget.element.textContent = text
}

function addWidget(node) {
  const element = document.createElement('div')
  element.style.cssText = STYLE
  const limits = { getMinHeight: () => LEAST, getMaxHeight: () => MOST }
  const widget = node.addDOMWidget(WIDGET, WIDGET, element, { serialize: false, hideOnZoom: true, ...limits })
  widget.serialize = false // not in saved graphs
  return widget
}
