'use strict'
// @platformatic/kafka. It consumes as streams of a group's member; a reader is the one member of a group
// of its own, and seeks by opening another stream.
const { BOOTSTRAP, Refused, freshName, pause } = require('./harness.js')

module.exports = installed => {
  const { Admin, Consumer, Producer, ListOffsetTimestamps } = installed('@platformatic/kafka')
  const version = process.env.COMPAT_VERSION
  const base = (more = {}) => ({ clientId: 'compat', bootstrapBrokers: [BOOTSTRAP], timeout: 30_000, connectTimeout: 5000, retries: 600, retryDelay: 100, ...more })

  /** The innermost errors say something. */
  const inner = e => e.errors && e.errors.length ? inner(e.errors[0]) : e.cause && e.cause.message ? inner(e.cause) : e
  const nameOf = e => inner(e).apiId || inner(e).code || inner(e).name
  const says = e => {
    const { apiId, code, name, serverErrorMessage, message } = inner(e)
    return `${apiId || code || name}: ${serverErrorMessage || message}`
  }

  async function asked (question, more) {
    const admin = new Admin(base(more))
    try {
      return await question(admin)
    } finally {
      await admin.close().catch(() => {})
    }
  }

  async function consumed (question, group = freshName('group')) {
    const consumer = new Consumer({ ...base(), groupId: group })
    try {
      return await question(consumer)
    } finally {
      await consumer.close(true)
    }
  }

  const record = m => ({
    partition: m.partition,
    offset: Number(m.offset),
    timestamp: Number(m.timestamp),
    key: m.key ?? null,
    value: m.value ?? null,
    headers: [...m.headers].map(([k, v]) => [k.toString(), v ?? null])
  })

  const message = (topic, { partition, timestamp, key, value, headers = [] }) => ({
    topic,
    partition,
    key: key ?? undefined,
    value: value ?? undefined,
    timestamp: timestamp === undefined ? undefined : BigInt(timestamp),
    // A map of buffers may have a name twice.
    headers: new Map(headers.map(([k, v]) => [Buffer.from(k), v]))
  })

  async function producer ({ codec, acks, idempotent, records = 1000, transactionalId, impatient }) {
    const made = new Producer(base({
      autocreateTopics: true,
      ...(impatient ? { retries: 2 } : {}),
      idempotent: idempotent || !!transactionalId,
      ...(transactionalId ? { transactionalId } : {})
    }))
    const options = { acks: acks === undefined || acks === 'all' ? -1 : Number(acks), compression: codec || 'none' }
    let waiting = []
    let transaction = null
    return {
      async send (topic, one) { waiting.push(message(topic, one)) },
      async flush () {
        const sending = waiting
        const errors = []
        waiting = []
        for (let at = 0; at < sending.length; at += records) {
          try {
            await (transaction || made).send({ messages: sending.slice(at, at + records), ...options })
          } catch (e) {
            errors.push(nameOf(e))
          }
        }
        return errors
      },
      async begin () { transaction = await made.beginTransaction() },
      async commit () {
        const errors = await this.flush()
        if (errors.length) throw new Refused(errors[0])
        await transaction.commit()
        transaction = null
      },
      async abort () {
        waiting = []
        await transaction.abort()
        transaction = null
      },
      async close () { await made.close() }
    }
  }

  const at = (topic, partitions, timestamp) => consumed(async c => (await c.listOffsets({ topics: [topic], timestamp })).get(topic).slice(0, partitions).map(Number))
  const starts = (topic, partitions) => at(topic, partitions, ListOffsetTimestamps.EARLIEST)
  const ends = (topic, partitions) => at(topic, partitions, ListOffsetTimestamps.LATEST)

  async function reader (topic, partitions, { starts: given = {}, committed = false } = {}) {
    let found = []
    let consumer
    async function open (offsets) {
      consumer = new Consumer({ ...base(), groupId: freshName('reader'), autocommit: false, maxWaitTime: 100, isolationLevel: committed ? 1 : 0 })
      const stream = await consumer.consume({ topics: [topic], mode: 'manual', offsets: offsets.map((offset, partition) => ({ topic, partition, offset: BigInt(offset) })) })
      stream.on('data', m => found.push(record(m)))
      stream.on('error', () => {})
    }
    const first = await starts(topic, partitions)
    await open(first.map((offset, p) => given[p] ?? offset))
    return {
      async poll (ms) {
        const until = Date.now() + ms
        while (!found.length && Date.now() < until) await pause(5)
        return found.splice(0)
      },
      async seek (partition, offset) {
        await consumer.close(true)
        found = []
        const target = { beginning: starts, end: ends }[offset]
        await open([target ? (await target(topic, 1))[partition] : offset])
      },
      async close () { await consumer.close(true) }
    }
  }

  async function member (group, topic, { sessionMs = 30_000, latest = false, records = [], commits = true, protocol, instance, metadataMs } = {}) {
    const consumer = new Consumer({
      ...base(metadataMs ? { metadataMaxAge: metadataMs } : {}),
      groupId: group,
      autocommit: false,
      maxWaitTime: 100,
      ...(instance ? { groupInstanceId: instance } : {}),
      ...(protocol === 'kip848' ? { groupProtocol: 'consumer' } : { sessionTimeout: sessionMs, rebalanceTimeout: Math.max(sessionMs, 60_000), heartbeatInterval: 500 })
    })
    const m = { owned: new Set(), events: [], records, failed: null, topic }
    const changed = () => {
      const now = new Set((consumer.assignments || []).filter(a => a.topic === topic).flatMap(a => a.partitions))
      const gone = [...m.owned].filter(p => !now.has(p))
      const come = [...now].filter(p => !m.owned.has(p))
      if (gone.length) m.events.push(['revoked', gone])
      if (come.length) m.events.push(['assigned', come])
      m.owned = now
    }
    for (const event of ['consumer:group:join', 'consumer:group:rejoin', 'consumer:heartbeat:end']) consumer.on(event, changed)
    const fail = e => { m.failed = e }
    const stream = await consumer.consume({ topics: [topic], mode: 'committed', fallbackMode: latest ? 'latest' : 'earliest' })
    changed()
    let committing = Promise.resolve()
    stream.on('error', fail)
    const last = new Map()
    async function read () {
      for await (const one of stream) {
        records.push(record(one))
        last.set(one.partition, { topic, partition: one.partition, offset: one.offset + 1n, leaderEpoch: -1 })
        // All that is there, then one commit; what a rebalance overtakes is left to the next owner.
        if (commits && !stream.readableLength) {
          const offsets = [...last.values()]
          last.clear()
          committing = consumer.commit({ offsets }).catch(e => process.env.COMPAT_TRACE && console.error('commit', e))
          await committing
        }
      }
    }
    read().catch(fail)
    m.close = async () => {
      await committing
      await consumer.close(true)
    }
    return m
  }

  const entries = configs => Object.entries(configs || {}).map(([name, value]) => ({ name, value }))
  const once = { retries: 0 }
  const admin = {
    create: (topic, { partitions = 1, replicas = 1, configs } = {}) => asked(a => a.createTopics({ topics: [topic], partitions, replicas, configs: entries(configs) }), once),
    remove: topic => asked(a => a.deleteTopics({ topics: [topic] }), once),
    topics: () => asked(a => a.listTopics()),
    configs: topic => asked(async a => {
      const found = await a.describeConfigs({ resources: [{ resourceType: 2, resourceName: topic, configurationKeys: null }] })
      return Object.fromEntries(found[0].configs.map(e => [e.name, e.value]))
    }, once),
    alter: (topic, configs) => asked(a => a.incrementalAlterConfigs({ resources: [{ resourceType: 2, resourceName: topic, configs: entries(configs).map(e => ({ ...e, configOperation: 0 })) }] }), once),
    grow: (topic, count) => asked(a => a.createPartitions({ topics: [{ name: topic, count, assignments: null }] }), once),
    deleteRecords: (topic, offsets) => asked(a => a.deleteRecords({ topics: [{ name: topic, partitions: Object.entries(offsets).map(([p, offset]) => ({ partition: Number(p), offset: BigInt(offset) })) }] })),
    groups: () => asked(async a => [...(await a.listGroups()).keys()]),
    describeGroup: group => asked(async a => {
      const found = (await a.describeGroups({ groups: [group] })).get(group)
      return { state: found.state, members: found.members.size }
    }),
    deleteGroup: group => asked(a => a.deleteGroups({ groups: [group] }), once),
    cluster: () => asked(async a => {
      const c = await a.metadata({ topics: [] })
      return { id: c.id, controller: c.controllerId, brokers: [...c.brokers.values()].map(b => `${b.host}:${b.port}`), ids: [...c.brokers.keys()] }
    })
  }

  return {
    name: 'platformatic-kafka',
    // Five times what a fetch may wait.
    onTheirWayMs: 500,
    version,
    unavailable: {
      'group.static': 'closing a member leaves the group, also with an instance id',
      'group.cooperative': 'this client has no cooperative members',
      'txn.abort': 'this client gives aborted records to read_committed consumers, also on Apache Kafka',
      'txn.fencing': 'this client does not try again when a transaction of its id is being ended, also on Apache Kafka',
      'group.grow': 'its members do not look for new partitions, also on Apache Kafka',
      'topic.recreated': 'a stream ends when its topic is deleted, also on Apache Kafka',
      'pause.resume': 'a stream is paused as a whole',
      'metadata.by-id': 'metadata is asked for by name',
      'txn.offsets': 'a transaction takes the offsets of messages that the consumer has read, not any',
      ...(process.versions.node.startsWith('20.') ? { 'codec.zstd': 'zstd needs Node 22.15' } : {}),
      'eos.chain': 'a transaction takes one message\'s offset at a time'
    },
    protocols: ['eager', 'kip848'],
    rejoins: true,
    repeats: true,
    nullHeaders: true,
    commitMetadata: false,
    tooLarge: 'MESSAGE_TOO_LARGE',
    unknownTopic: 'PLT_KFK_USER',
    says,
    metadata: topic => asked(async a => {
      const c = await a.metadata({ topics: topic ? [topic] : await a.listTopics() })
      const leaders = Object.fromEntries([...c.topics].map(([name, t]) => [name, t.partitions.map(p => p.leader)]))
      return { brokers: [...c.brokers.values()].map(b => `${b.host}:${b.port}`), leaders }
    }),
    producer,
    reader,
    member,
    offsetAt: async (topic, partition, timestamp) => (await at(topic, partition + 1, BigInt(timestamp)))[partition],
    ends,
    starts,
    committed: (group, topic, partition) => asked(async a => {
      const found = (await a.listConsumerGroupOffsets({ groups: [group] })).find(g => g.groupId === group)
      const of = found && found.topics.find(t => t.name === topic)
      const one = of && of.partitions.find(p => p.partitionIndex === partition)
      return { offset: one ? Number(one.committedOffset) : -1, metadata: (one && one.metadata) || '' }
    }),
    commit: (group, topic, partition, offset) => asked(a => a.alterConsumerGroupOffsets({ groupId: group, topics: [{ name: topic, partitionOffsets: [{ partition, offset: BigInt(offset) }] }] })),
    admin,
    elsewhere: bootstrapBrokers => asked(a => a.listTopics(), { bootstrapBrokers, retries: 1 })
  }
}
