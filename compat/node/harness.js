'use strict'
// What every scenario needs: the control line to the runner, fresh topics, waiting, one JSON line each.
//
// A client (client-*.js) is what the scenarios ask for, so that they are written once:
//
//   name, version
//   unavailable                        scenario -> reason, for what the client does not have
//   protocols                          of group members: 'eager', 'cooperative', 'kip848'
//   rejoins                            whether a member joins again, under its own id, when its connection breaks
//   repeats                            whether a member may read records again after its broker was away
//   onTheirWayMs                       how long a member may still bring records of a partition that it has lost; none when not there
//   tooLarge, unknownTopic             its names for these errors
//   metadata(topic)                    {brokers: [address], leaders: {topic: [leader]}}
//   producer(options)                  send(topic, record), flush() -> [name of an error], close; with
//                                      transactionalId begin, commit, abort, sendOffsets
//                                      options: codec, acks, idempotent, records (in a batch), transactionalId
//   reader(topic, partitions, options) assigned all those partitions: poll(ms) -> [record], seek(partition,
//                                      offset | 'beginning' | 'end'), pause([partition]), resume([partition]), close
//                                      options: starts ({partition: offset}), committed
//   offsetAt(topic, partition, ms)     -1 when there is none
//   ends(topic, partitions), starts(topic, partitions)
//   member(group, topic, options)      owned (a set), events, records, failed, close
//   committed(group, topic, partition) {offset, metadata}, offset -1 when there is none
//   commit(group, topic, partition, offset, metadata)
//   admin                              create, remove, topics, configs, alter, grow, deleteRecords, groups,
//                                      describeGroup, deleteGroup, cluster
//   says(error)                        what its user reads
//
// A record is {partition, offset, timestamp, key, value, headers: [[name, value]]}; keys, values and
// headers are buffers or null.
const net = require('node:net')
const crypto = require('node:crypto')
const { isDeepStrictEqual, inspect } = require('node:util')

const BOOTSTRAP = process.env.COMPAT_BOOTSTRAP || ''
// The time of the first of spaced records: an hour ago, which retention leaves alone.
const ORIGIN_MS = Date.now() - 3_600_000
const SECONDS = Number(process.env.COMPAT_SECONDS || 15)
// Apache Kafka's restarts take their time.
const PATIENCE = process.env.COMPAT_AGAINST === 'kafka' ? 3 : 1
const LIMIT_S = Number(process.env.COMPAT_LIMIT || 120)

/** The client cannot do this at all; the message says why. */
class NotAvailable extends Error {}

/** What a client refused; the message starts with its own name for why. */
class Refused extends Error {}

/** Asks the runner for something (see compat/runner/control.py). */
function control (...words) {
  const [host, port] = process.env.COMPAT_CONTROL.split(':')
  return new Promise((resolve, reject) => {
    let text = ''
    const socket = net.connect(Number(port), host, () => socket.write(words.join(' ') + '\n'))
    socket.on('data', data => { text += data })
    socket.on('error', reject)
    socket.on('end', () => {
      const answer = JSON.parse(text)
      answer.error ? reject(new Error(`${words.join(' ')}: ${answer.error}`)) : resolve(answer.ok)
    })
  })
}

const freshName = (kind = 'compat') => `${kind}-${crypto.randomBytes(4).toString('hex')}`

async function newTopic (partitions = 1) {
  const name = freshName()
  await control('create', name, partitions)
  return name
}

const brief = value => inspect(value, { breakLength: Infinity, depth: 4 }).slice(0, 300)

function expect (what, actual, wanted) {
  if (!isDeepStrictEqual(actual, wanted)) {
    throw new Error(`${what}: got ${brief(actual)}, wanted ${brief(wanted)}`)
  }
}

const pause = ms => new Promise(resolve => setTimeout(resolve, ms))

async function waitFor (what, condition, seconds = 60) {
  seconds *= PATIENCE
  const deadline = Date.now() + 1000 * seconds
  for (;;) {
    const found = await condition()
    if (found) return found
    if (Date.now() > deadline) throw new Error(`${typeof what === 'function' ? what() : what}: not within ${seconds} s`)
    await pause(10)
  }
}

/** The error that a call ends with, or a failure when it ends well. */
async function refused (what, call) {
  try {
    await call()
  } catch (e) {
    return e
  }
  throw new Error(`${what} was not refused`)
}

async function run (client, scenarios) {
  const wanted = (process.env.COMPAT_SCENARIOS || '').split(' ').filter(Boolean)
  // A client may throw in the background what no scenario waits for.
  const background = e => process.env.COMPAT_TRACE && console.error('in the background:', e)
  process.on('uncaughtException', background)
  process.on('unhandledRejection', background)
  for (const name of wanted.filter(name => scenarios[name] || client.unavailable[name])) {
    const began = Date.now()
    const limit = LIMIT_S + (name === 'eos.chain' ? 2 * SECONDS : 0)
    let line = {}
    let timer
    try {
      if (client.unavailable[name]) throw new NotAvailable(client.unavailable[name])
      const late = new Promise((resolve, reject) => {
        timer = setTimeout(() => reject(new Error(`it did not end within ${limit} s`)), 1000 * limit)
      })
      const answer = await Promise.race([scenarios[name](), late])
      line = answer && typeof answer === 'object' ? { note: '', said: answer } : { note: answer || '' }
      line.result = 'pass'
    } catch (e) {
      if (process.env.COMPAT_TRACE) console.error(e)
      line = { result: e instanceof NotAvailable ? 'n/a' : 'fail', note: String(e.message).replace(/\s+/g, ' ').slice(0, 500) }
    }
    clearTimeout(timer)
    console.log(JSON.stringify({ client: client.name, version: client.version, scenario: name, ms: Date.now() - began, ...line }))
  }
  process.exit(0)
}

module.exports = { BOOTSTRAP, ORIGIN_MS, SECONDS, NotAvailable, Refused, control, expect, freshName, newTopic, pause, refused, run, waitFor }
