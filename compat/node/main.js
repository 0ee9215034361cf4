'use strict'
// Runs the scenarios of one client, or the member that group.kill kills.
const path = require('node:path')
const { createRequire } = require('node:module')
const { run } = require('./harness.js')

const home = path.join(process.env.COMPAT_TOOLS, `${process.env.COMPAT_CLIENT}-${process.env.COMPAT_VERSION}`)
const installed = createRequire(path.join(home, 'package.json'))
const client = require(`./client-${process.env.COMPAT_CLIENT}.js`)(installed)

async function main () {
  if (process.argv[2] === 'member') {
    return require('./groups.js').child(client, process.argv[3], process.argv[4])
  }
  const areas = ['basic', 'groups', 'transactions', 'positions', 'admin', 'errors']
  await run(client, Object.assign({}, ...areas.map(area => require(`./${area}.js`)(client))))
}

main().catch(e => {
  console.error(e)
  process.exit(1)
})
