// Says what our nodes say where the person looks: the front end's own message of an error gives no reason.
import { app } from '../../scripts/app.js'
import { api } from '../../scripts/api.js'

const ours = (type) => type?.startsWith('IDAging')

app.registerExtension({
  name: 'IdentityAging.Sentences',
  setup() {
    api.addEventListener('execution_error', ({ detail }) => {
      if (!ours(detail.node_type)) return
      const node = app.graph.getNodeById(detail.node_id)
      const summary = node?.title ?? detail.node_type
      app.extensionManager.toast.add({ severity: 'error', summary, detail: detail.exception_message.trim() })
    })
  }
})
