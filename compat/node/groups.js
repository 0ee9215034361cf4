'use strict'
// Scenarios of groups. Members read in the background.
const path = require('node:path')
const { spawn } = require('node:child_process')
const { NotAvailable, control, expect, freshName, newTopic, pause, waitFor } = require('./harness.js')
const { Shared, text } = require('./basic.js')

const PARTITIONS = 6
// Longer than any wait here: what is taken over was not taken over because a session ended.
const SESSION_MS = 60_000
const AT_ONCE_S = 30
const range = (count, first = 0) => Array.from({ length: count }, (_, i) => first + i)

/** What each owns, once no partition has two owners and none has no owner; else null. */
function owned (members) {
  const flat = members.flatMap(m => [...m.owned]).sort((a, b) => a - b)
  const all = flat.length === PARTITIONS && flat.every((p, i) => p === i)
  return all && members.every(m => m.owned.size) ? members.map(m => new Set(m.owned)) : null
}

const failures = members => members.filter(m => m.failed).map(m => m.failed.message)

module.exports = client => {
  const s = new Shared(client)

  async function settled (members, seconds = 60) {
    const found = await waitFor(
      () => `each partition with one owner, ${JSON.stringify(members.map(m => [...m.owned]))} ${failures(members)}`,
      () => owned(members), seconds)
    // What a fetch on its way brings is not held against the one that has lost the partition.
    await pause(client.onTheirWayMs || 0)
    return found
  }

  /** Values first to first + count - 1, over all partitions; answers them all so far. */
  async function feed (topic, first, count) {
    const producer = await client.producer({})
    for (const i of range(count, first)) await producer.send(topic, { partition: i % PARTITIONS, value: Buffer.from(String(i)) })
    expect('delivery errors', await producer.flush(), [])
    await producer.close()
    return range(first + count)
  }

  async function eachOnce (records, wanted, members = [], repeats = false) {
    const values = () => {
      const all = records.map(r => Number(text(r.value))).sort((a, b) => a - b)
      return repeats ? [...new Set(all)] : all
    }
    await waitFor(() => `${records.length} of ${wanted.length} records came ${failures(members)}`, () => values().length >= wanted.length)
    expect('records', values(), wanted)
  }

  async function joined (count, group, topic, records, options = {}) {
    const members = []
    for (let i = 0; i < count; i++) {
      members.push(await client.member(group, topic, { records, sessionMs: SESSION_MS, ...options }))
      await settled(members)
    }
    return members
  }

  const close = members => Promise.all(members.map(m => m.close()))

  function need (protocol) {
    if (!client.protocols.includes(protocol)) throw new NotAvailable(`this client has no ${protocol === 'kip848' ? 'KIP-848' : protocol} members`)
  }

  async function join (protocol = 'eager') {
    const [topic, group, records] = [await newTopic(PARTITIONS), freshName('group'), []]
    const members = await joined(3, group, topic, records, { protocol })
    try {
      expect('sizes', members.map(m => m.owned.size), [2, 2, 2])
      await eachOnce(records, await feed(topic, 0, 600))
      expect('the group is a classic one', (await control('group', group)).state !== 'Dead', protocol !== 'kip848')
    } finally {
      await close(members)
    }
  }

  async function leave (protocol = 'eager') {
    const [topic, group, records] = [await newTopic(PARTITIONS), freshName('group'), []]
    const members = await joined(3, group, topic, records, { protocol })
    let took
    try {
      await eachOnce(records, await feed(topic, 0, 600))
      const began = Date.now()
      await members.pop().close()
      await settled(members, AT_ONCE_S)
      took = Date.now() - began
      await eachOnce(records, await feed(topic, 600, 600))
    } finally {
      await close(members)
    }
    return `taken over after ${took} ms`
  }

  return {
    'group.join': () => join(),
    'group.leave': () => leave(),
    'group.kill': async () => {
      const [topic, group, records] = [await newTopic(PARTITIONS), freshName('group'), []]
      const member = await client.member(group, topic, { records, sessionMs: 6000 })
      const child = spawn(path.join(__dirname, 'harness'), ['member', group, topic], { stdio: ['ignore', 'pipe', 'inherit'] })
      let theirs = []
      child.stdout.on('data', data => { theirs = JSON.parse(data.toString().trim().split('\n').at(-1)) })
      let took
      try {
        await waitFor(() => `halves, ${[...member.owned]} and ${theirs}`, () => member.owned.size === 3 && theirs.length === 3)
        expect('owned', [...member.owned, ...theirs].sort(), range(PARTITIONS))
        const began = Date.now()
        child.kill('SIGKILL')
        await settled([member])
        took = (Date.now() - began) / 1000
        await eachOnce(records, await feed(topic, 0, 600))
      } finally {
        child.kill('SIGKILL')
        await member.close()
      }
      expect('not before the session\'s end', took > 3, true)
      return `taken over after ${took.toFixed(1)} s, the session was 6 s`
    },
    'group.cooperative': async () => {
      need('cooperative')
      const [topic, group, records] = [await newTopic(PARTITIONS), freshName('group'), []]
      const members = await joined(2, group, topic, records, { protocol: 'cooperative' })
      try {
        const before = members.map(m => new Set(m.owned))
        const seen = members.map(m => m.events.length)
        members.push(await client.member(group, topic, { records, protocol: 'cooperative', sessionMs: SESSION_MS }))
        const after = await settled(members)
        for (const i of [0, 1]) {
          const given = members[i].events.slice(seen[i]).filter(([kind]) => kind === 'revoked').flatMap(([, p]) => p).sort()
          expect(`what member ${i} gave up`, given, [...before[i]].filter(p => !after[i].has(p)).sort())
        }
        await eachOnce(records, await feed(topic, 0, 600))
      } finally {
        await close(members)
      }
    },
    'group.static': async () => {
      const [topic, group, records] = [await newTopic(PARTITIONS), freshName('group'), []]
      const static_ = instance => client.member(group, topic, { records, instance, sessionMs: SESSION_MS })
      const members = [await static_('a'), await static_('b')]
      try {
        const before = await settled(members)
        await eachOnce(records, await feed(topic, 0, 600))
        const seen = members[0].events.length
        await members.pop().close()
        members.push(await static_('b'))
        expect('partitions', await settled(members), before)
        await eachOnce(records, await feed(topic, 600, 600))
        expect('what the other member noticed', members[0].events.slice(seen), [])
      } finally {
        await close(members)
      }
    },
    'group.kip848': async () => {
      need('kip848')
      await join('kip848')
      return leave('kip848')
    },
    'group.grow': async () => {
      const [topic, group, records] = [await newTopic(PARTITIONS / 2), freshName('group'), []]
      const members = []
      for (let i = 0; i < 2; i++) members.push(await client.member(group, topic, { records, sessionMs: SESSION_MS, metadataMs: 1000 }))
      try {
        await waitFor(() => `half of the partitions ${failures(members)}`, () => members.flatMap(m => [...m.owned]).sort().join() === '0,1,2')
        await control('grow', topic, PARTITIONS)
        // Before anybody knows of them.
        const everything = await feed(topic, 0, 300)
        await settled(members)
        await eachOnce(records, everything, members)
      } finally {
        await close(members)
      }
    },
    'group.rolling': async () => {
      throw new NotAvailable('this client changes no running member from one protocol to the other')
    },
    'group.offsets': async () => {
      const [topic, group] = [await newTopic(), freshName('group')]
      await s.produce(topic, range(10).map(String))
      expect('no commit', await client.committed(group, topic, 0), { offset: -1, metadata: '' })
      await client.commit(group, topic, 0, 5, 'a note')
      expect('commit', await client.committed(group, topic, 0), { offset: 5, metadata: client.commitMetadata === false ? '' : 'a note' })
      expect('another group', await client.committed(freshName('group'), topic, 0), { offset: -1, metadata: '' })
      async function starts (wanted, inGroup, latest) {
        const member = await client.member(inGroup, topic, { latest, commits: false })
        try {
          await waitFor(() => `an assignment ${failures([member])}`, () => member.owned.size)
          await waitFor('a record', async () => {
            if (latest && !member.records.length) await s.produce(topic, ['new'])
            return member.records.length
          })
          expect('the first', latest ? text(member.records[0].value) : member.records[0].offset, wanted)
        } finally {
          await member.close()
        }
      }
      await starts(5, group, false)
      await starts(0, freshName('group'), false)
      await starts('new', freshName('group'), true)
      await client.commit(group, topic, 0, 2, '')
      await starts(2, group, false)
    },
    'group.restart': async () => {
      const [topic, group, records] = [await newTopic(PARTITIONS), freshName('group'), []]
      const members = await joined(2, group, topic, records, { sessionMs: 2 * SESSION_MS })
      try {
        await eachOnce(records, await feed(topic, 0, 300))
        const ids = await control('group', group)
        let fed = 300
        for (const how of ['restart', 'crash']) {
          await control(how)
          await eachOnce(records, await feed(topic, fed, 300), members, client.repeats)
          fed += 300
        }
        await settled(members)
        if (client.rejoins) return 'this client\'s members join again by themselves'
        expect('members', await control('group', group), ids)
      } finally {
        await close(members)
      }
    }
  }
}

/** A member that says what it owns, until it is killed. */
module.exports.child = async (client, group, topic) => {
  const member = await client.member(group, topic, { sessionMs: 6000 })
  const parent = process.ppid
  let said = ''
  while (!member.failed && process.ppid === parent) {
    const now = JSON.stringify([...member.owned].sort())
    if (now !== said) process.stdout.write(now + '\n')
    said = now
    await pause(50)
  }
  process.exit(1)
}
