// Package clock keeps the ledger's clock even. The ledger's time is Redis TIME plus
// a correction that stands in the ledger; this package watches Redis TIME, and
// decides when and by how much the correction is moved.
//
// # What may go wrong
//
// The clock of Redis's machine is set, by an hour say, or Redis comes back on
// another machine. Left alone, every retry and deadline would be due at once, or
// none for an hour. So each coordinator, leader or not, reads both numbers once a
// second and compares them with a clock of its own that nobody can set: the time
// since its machine was booted, time of suspension included. That one and Redis's
// need not agree on what time it is, only on how fast it passes.
//
// A reading tells the difference between the two clocks to within the time that it
// took. Readings that overlap narrow it down further, and a process that was stopped in
// the middle of one gets a wide reading, not a wrong one. When a reading lies off
// what was known by more than a quarter of a second, Redis's clock jumped. Less is taken
// as it comes: clocks are slewed, and rates differ.
//
//   - The leader moves the correction the other way, and goes by nothing that the
//     ledger says of the time before that is done: what is due is looked at through
//     Now, which checks first.
//     While all is well it confirms the clock once a second, which is what lets the clock
//     of the scripts go on: a jump that is not corrected yet does not show there.
//   - Another coordinator goes on as if nothing had happened. If the correction was
//     moved meanwhile it takes the leader's word; if not, it will correct itself when
//     it is elected.
//   - Nobody ran when the clock jumped. A new leader knows nothing from before. It
//     sees that the clock went back when the ledger holds slots that were accounted
//     later than now: then the clock is set to the latest of them, or to this
//     machine's if that is later still, since only one machine's clock is taken to be
//     wrong at a time. A clock that went forward can't be told from a long night,
//     and is believed; if this machine's clock says otherwise, that is logged.
//   - The correction is lost with Redis's last writes. To the leader that is a jump.
//   - The machine of a coordinator has its clock set. Nothing goes by it, but for the
//     case above and the next one.
//   - The correction has become wrong: Redis's clock was an hour slow from the start,
//     somebody put it right, and the jump was evened out. When Redis's clock and this
//     machine's have agreed for a minute and the ledger's differs, the leader leads it
//     back, by a twentieth of the time that passes. So a slot is never skipped or doubled,
//     and no timer fires early by more than that.
//
// The other servers need no such care. etcd counts its leases by a monotonic clock and
// tells the time left, never an instant. RabbitMQ's heartbeats and timeouts are the
// Erlang runtime's, which is monotonic too, and no message has a time to live.
package clock
