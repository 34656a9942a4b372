// Package ledger is the truth of what runs, kept in Redis. It is the only door:
// nothing else builds a key or runs a script. One Lua script per verb makes one
// transition, so any process may die between any two calls.
//
// # What is true
//
// The state of a node, the hash …:node:{node}:state, is the only truth. A node
// without that hash waits for its inputs. Everything else can be derived from
// node states: the counters of a cycle and the joins, which count decided edges
// into a node, are caches; the outbox is a list of facts the leader has yet to
// act on, and an entry lost there is put back by the audit (MendNode,
// MendCounts); a lease is a hint that a claim may be looked at, never a reason
// to take it away. A task message is a doorbell: losing or doubling it changes
// nothing.
//
// # How it fails, and what holds
//
// Commands are repeated. The client sends a command again after a broken
// connection, so every script runs twice now and then. Each is a compare-and-set
// on cycle uuid, status, attempt and token: the second run finds its work done
// and gives the same answer (claim to the same token, complete, fail, start of
// the same slot or trigger) or changes nothing (dispatched, expire, retry,
// sweep, spread by its cursor). The cycle uuid is derived from what asked for
// the cycle and never counted, so a number that means another cycle after Redis
// went back in time is refused as gone.
//
// Leaders change. A verb of the leader carries its epoch; takeover writes it
// before anything is read, and a lower epoch is refused with FencedError before
// any write. Work that needs several calls (spread, sweep, archive, delete,
// release of held nodes) keeps its outbox entry until its last part and repeats
// harmlessly, so a new leader begins it anew. A cycle whose removal has begun is
// marked deleting first: workers that still run in it can bring nothing back.
//
// Workers die or stall. A claim belongs to a token. Nobody takes a claim over:
// a redelivered message marks it suspect and shortens its lease, and only Expire,
// which names attempt and token, revokes it. The revoked worker's result is
// refused (ErrNotMine). A node that was revoked too often fails; one that must
// not start twice ends unknown, unless the leader has asked etcd and found that
// it was never started (Expiry.Unstarted): then it is offered again. Release takes
// such a node back only from a worker that did not start it.
//
// A claim alone does not keep a node from starting twice: after Redis went back in
// time it is granted again. What does is a once-key in etcd, which the worker gets
// from a coordinator between claim and start. One that meets the key of another
// ends its node by EndUnknown. Here stands what that needs of Redis: where the
// coordinators are (BeatCoordinator), which etcd has the keys and since when
// (OnceEra), and what a claimed node waits for meanwhile (Block).
//
// Redis goes back in time. A claim that it forgot is made again by the next
// heartbeat of the worker that holds it; a forgotten slot starts again under the
// same uuid. RunID tells of a restart; the leader then has the append-only file
// rewritten (RewriteAOF) and audits every open cycle.
//
// Scripts break in the middle. Redis rolls no script back: an error after a
// write keeps the write. Therefore a script reads first, refuses next and writes
// last; the prelude's sound functions read the keys that are only written later,
// so that a key of a wrong type ends the script before its first write. The key of the
// first write needs none: it is its own check. One
// exception is deliberate: a script may raise the stored epoch and then refuse.
// A file that was cut inside a script can still show half of it after a restart;
// that is what the audit is for.
//
// Memory is short. Scripts that end, renew or remove work are allowed to run out
// of memory bounds; start_cycle and activate_flow are not, so that Redis refuses
// new work first. Open refuses a Redis that would evict keys.
//
// Clocks differ. The scripts have one clock, the ledger's: leases, timers,
// deadlines, and whether a slot is due. Times are milliseconds.
//
// # The ledger's clock
//
// It is Redis TIME plus a correction that stands in the ledger itself (P:clock), so
// one read in each script. Redis TIME alone will not do: when somebody sets the clock of
// that machine, or Redis comes back on another machine, everything due by time
// would be due at once, or nothing for as long as the clock was set back.
//
// The leader watches Redis TIME against a clock that nobody sets and, when it
// jumped, moves the correction by the same amount the other way (SetClock); package
// coordinator/internal/clock says how it decides. What can go wrong:
//
//   - Who may set it. Only a leader, by its epoch, and only from the correction it
//     saw: a repeated command, or a second coordinator that saw the same jump, moves
//     it once. A deposed leader is refused.
//   - Two jumps, or a jump between reading and setting. A correction is made of one
//     reading of both numbers and replaces just that one; what jumped since is met by
//     the next reading.
//   - Between a jump and its correction. Once a second the leader confirms the clock:
//     the TIME at which it was right stands in P:clock_at. Scripts take no time for
//     earlier than that, and none for more than five seconds later, so what they write in
//     such a moment (a lease's end, a retry's time) is off by seconds at most. A
//     lease that ends too early is renewed by its next heartbeat, and none is revoked
//     before the leader has seen it unchanged for its whole length by its own clock.
//     The leader looks at nothing that is due before it has checked the clock.
//   - Nobody confirms: there is no leader, or it can't reach Redis. After five seconds
//     the clock stands still until one does, and then is where it would have been. What
//     is due waits for a leader anyway; a new one grants leases a grace.
//   - Nobody leads. The correction stays as it is; a standby has watched as well, and
//     corrects as it takes over.
//   - Redis loses its last writes, the correction among them: that looks like a
//     jump, and is corrected as one.
//   - P:clock holds nonsense: it counts as 0. A wrong type ends every script before
//     its first write.
//
// Not corrected are the ids of streams, which are Redis's own: a record's At is
// Redis TIME, and stands still while that is behind an earlier id. Expiry of keys is
// Redis's too; only the records of dead workers go that way, hours late.
//
// # The journal
//
// Every transition writes one record in the step that makes it (those of one script may be one entry, in
// the order of the step, with ids such as 1767225600000-0, 1767225600000-0.1), and so does every
// refusal that somebody might ask about: a verb refused by its epoch (fenced: the
// higher epoch, then the verb, or "publish" and how many messages were held back),
// a claim, result or release of an attempt that is not the caller's (refused: the
// verb, then why), a heartbeat's (lost). An offer that was held, or found nothing
// to hold, says what became of its entry (held, dropped), so that each offer has an
// answer: dispatch, held or dropped. A refusal writes nothing else, and holds even
// where its record can't be written. One record a call: a zombie adds no more to
// the journal than it asks of Redis.
//
// # Keys
//
// P is the prefix. KEYS[1] of every script is P alone and all other keys are
// derived from it inside the script: a script learns which keys it needs from
// what it reads (successors, holds, the plan of a cycle), and with Redis Cluster
// the hash tag in the prefix (station{0}) puts all of them into one slot, which
// is what a declared key would have to guarantee.
//
//	P:epoch, P:schema                     string  highest epoch seen; number of this layout
//	P:clock, P:clock_at                   string  what is added to Redis TIME (ms), missing = 0; TIME when a leader last found that right
//	P:run                                 string  the run_id of Redis whose start a leader has acted on
//	P:catalog                             hash    id, revision, term of the etcd that the flows come from
//	P:deleted                             zset    uids of the newest 1,000 deleted flows by time
//	P:repairs, P:recoveries               hash; list  repairs by kind; the newest 20 recoveries
//	P:flows                               set     ids of flows
//	P:flow:{f}:config                     string  the definition as accepted
//	P:flow:{f}:state                      hash    status, uid, revision, anchor, active, last_cycle, last_slot and
//	                                              what it became, slots_started, slots_skipped:{reason},
//	                                              cycles_{status}, plan:{revision} = cycles that need this plan
//	P:flow:{f}:plan:{revision}            hash    '#' = header; per node its JSON, {node}:in, {node}:component
//	P:flow:{f}:cycles                     zset    cycle numbers by start time
//	P:flow:{f}:triggers                   hash    idempotency key (or uuid) of a trigger → cycle, as long as the cycle
//	P:flow:{f}:cycle:{n}:status           hash    uuid, occasion, status, counts, deadline, component:{c} when ended,
//	                                              spread = entry nodes offered so far, archived = part | 1
//	P:flow:{f}:cycle:{n}:joins            hash    {node}:live, :dead, :failed = decided edges into the node; none
//	                                              for a node that waits for one other and is ready when that has ended
//	P:flow:{f}:cycle:{n}:outputs          hash    {node}:{handle} → JSON value
//	P:flow:{f}:cycle:{n}:node:{node}:state hash   status, attempt, token, worker, times, retry_count, lost, dead
//	                                              out-edges, held, blocker, spread = successors counted so far,
//	                                              again = this attempt was offered before
//	P:flow:{f}:cycle:{n}:archive          string  compact record of an ended cycle; replaces nodes, joins, outputs
//	P:active                              zset    {f}|{n}|{uuid} of open cycles by start time
//	P:closing                             zset    {f}|{n}|{uuid}| of ended cycles whose end no leader has heard of
//	P:leases                              zset    {f}|{n}|{uuid}|{node} of running claims by lease end
//	P:timers                              zset    {kind}|{f}|{n}|{uuid}|{node}|{attempt} by due time; retry, offer, deadline
//	P:held:flow:{f}, P:held:type:{pool}:{type} set {f}|{n}|{uuid}|{node}|{attempt} of offers set aside
//	P:holds                               set     what offers are held for, but for paused flows
//	P:outbox                              stream  e = kind|flow|cycle|uuid|node|attempt: not yet acted on
//	P:journal                             stream  r = op|flow|cycle|uuid|node|attempt|epoch|token|worker|detail, and 1, 2, … = further
//	                                              records of the same step, of the same cycle as
//	                                              op|^|node|attempt|token|worker|detail, and with nodes as a,b,c
//	                                              where they differ by these alone; the capped history
//	                                              of every transition
//	P:workers, P:worker:{id}              set; hash with last_beat and the ttl it counts for
//	P:coordinators                        zset    {id}|{machine}|{URL of the API} by the end of the announcement
//	P:once                                hash    era = the etcd that has the once-keys, since = from when on
//
// # How calls travel
//
// Scripts have connections of their own (link.go), so that what the API lists or an
// audit reads is never in front of a hop; reads that wait have others again. Two round
// trips are under way at most. A call that finds a place goes at once and alone; those
// that find none go together in the next. Every call may run twice there as anywhere
// else: a round trip that broke is made again as a whole. A call with a deadline goes alone
// on another connection, so heartbeats stand behind nobody.
//
// Claims that go together are one script (claim_several), and so are completions
// (complete_several): the clock, the epoch, the head of a cycle, its plan, its outputs and its joins are then
// read once for all of them, and what they count of a cycle is written once. Half of
// what a node costs Redis is thus saved when many are under way; a call that is alone goes
// by its own script, as ever. What can go wrong:
//
//   - One of them is refused, or is special: held, suspect, stopped, too large.
//     The script does nothing about it and says so; the call is then made by its own script.
//     So each rule about refusals stands in one place, and what the two scripts have to agree on is only
//     when a call is plain. That they do is checked: calls together leave the same records
//     and get the same answers as in turn, under random loads.
//   - Two of them are about one node, as when a message came twice: the second reads what
//     the first is about to write. It counts as special.
//   - A key is of a wrong type. The script has read everything before it writes, so it fails
//     without having written, and each call is made again by itself: only those that
//     need the key fail.
//   - The connection breaks, or Redis ends in the middle. As for any script: nothing is known, all are called
//     again, and those that were done are answered the same: a claim by its token, a completion as counted
//     before. A file that was cut inside the script shows a part of more nodes than one;
//     their records say which, and the audit counts again.
//   - It blocks others. At most 32 calls and 2,048 arguments are one script, about half a
//     millisecond.
//
// # Old cycles
//
// The leader archives and removes cycles of a flow some at a time. One script (archive_cycles, delete_cycles)
// does it for up to 16 that have the same nodes, and touches no more than Chunk records; a larger cycle
// goes by itself, in parts. What is archived already is removed unread: only the others are looked at for
// their nodes (DeleteArchived). What can go wrong:
//
//   - One of them is gone, or has not ended. The answer says so for that one; the others are done.
//   - The call runs twice, or another leader did the same. What is archived stays as it is, what is gone counts
//     as removed, and the plan's count falls once for each.
//   - A key is of a wrong type. Everything was read before the first write, so none of them is changed.
//   - The leader dies between the parts of a large cycle, or a script tears. An archive is stored, and the cycle
//     marked, before the first record goes: the next pass removes the rest, and stores nothing. A removal takes the
//     number last, so the next pass meets it again. Lost are at most journal records of removals, and a
//     plan's count stays too high, so that an old plan is kept for the flow's life.
//
// # Direct claims
//
// A completion may name successors that its worker would take, and how many (CompleteNext). Those of them that
// become ready by it, and no more than that, the script claims for that worker instead of offering them: no outbox
// entry, no message, and the answer is that of the claims. It is a completion and claims in one
// step, so each state it leaves is one that these leave when nothing comes between them, but for
// the offers: the nodes were never ready. A claim's record says "direct", and stands for both. All claims of one
// report have the token that came with it: a token tells who may end a node's attempt, and is never looked for without its node.
// What can go wrong:
//
//   - The answer is lost. The report is made again with the same token, is known as counted, and
//     the answer is that of the claims that still hold, with new leases.
//   - The worker dies, or never learns. Its lease runs out, or its broken connection proves
//     its end; the attempt is revoked and the next one offered. That is how any claim ends that
//     was acked early.
//   - The flow is paused or deleted, the cycle or component is ending: the successor is offered,
//     and held or swept as ever. The plan is missing: offered, and the audit sees to it.
//   - Redis forgets the step, or half of it. The lease comes before the record that says running;
//     the joins say what was decided, and the audit offers what they let go. A worker whose claim
//     is forgotten is told so by its heartbeat.
//   - Another worker asks for the node by an old message, of a time that Redis forgot: it is
//     claimed, and that one refused.
//
// A node that may be started only once is never claimed so, nor one whose start the leader decides.
//
// The client library has an automatic pipeliner. It was measured beside this one: with
// 16 callers both send for about 0.6 of the client's CPU of single calls, with 50 to 200
// for a quarter, and neither is ahead; a call that is alone takes 1.5 times as long in the library (it changes
// goroutines twice), and on an idle system every call of a hop is alone. COSTS.md has the
// figures and says what each step of a hop costs.
//
// # Scripts
//
// Each file in lua is one verb; its header lists ARGV and every reply. The Go
// side puts the verb's name and what the verb uses of lua/prelude.lua before each text. A prelude instead of a Redis
// function library, because functions are missing in the embedded server and
// would be one more thing to install and version; and instead of repeating the
// shared moves (offer a node, count an outcome, close a cycle), because a rule
// that stands in one place cannot differ between two verbs. Redis caches a script
// by the hash of its whole text, so processes of different builds never run each
// other's version.
//
// Numbers that are stored or joined go through string.format, since Lua writes
// large ones in powers of ten; at most 1,000 values are unpacked at once and at
// most 500 joined; a call touches at most Chunk nodes, and wide flows are worked
// on in parts. The first line (#!lua flags) is dropped for the embedded server,
// which does not know it.
package ledger
