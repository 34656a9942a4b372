// Package schedule says which slots of a flow are due. A slot is the instant
// at which a cycle is due; it identifies the cycle, so every coordinator must
// compute the same slots from the same flow. This half of the package is pure:
// it has no clock and does no I/O, and time is an argument.
//
// # Periodic schedules
//
// The slots are anchor + k*interval for k = 0, 1, 2, ..., where the anchor is the
// instant at which the schedule was set, to the millisecond. They are computed
// by arithmetic and never by adding up waits, so they do not drift, and a long
// downtime costs no more than a short one. A new flow runs at once, since the
// anchor is the first slot.
//
// # Cron schedules
//
// Slots lie strictly after the anchor. Expressions have five fields, or six
// with seconds in front, or are one of @hourly, @daily, @weekly, @monthly,
// @yearly. When both day fields are restricted, a day that matches either of
// them counts, as in crontab. L, W and # are understood (L, 15W, FRI#3, FRI#L).
//
// A wall time is turned into an instant by the rules of its IANA timezone:
//
//   - A wall time that a change of the clock leaves out runs as if the change had
//     not come yet: with the clock going from 02:00 to 03:00, 02:30 runs at 03:30.
//     If that instant is a slot already, it is one slot.
//   - A wall time that a change repeats runs the first time only, unless the
//     expression matches every hour.
//   - An expression that matches every hour (hour field *, 0-23 and the like) means
//     "all the time" and goes on through the repeated hour in real time: */5 keeps
//     its five minutes, an hourly flow runs in both of the equal hours. In a zone
//     that changes by half an hour, a minute of the repeated half hour comes twice,
//     thirty minutes apart.
//
// Timezone data is linked in for hosts that have none of their own. Where hosts
// do have one, it takes precedence, and hosts with different editions can
// disagree about a zone whose rules changed between them.
//
// # What becomes of a slot
//
// Due accounts for each slot once: it starts, or it is part of a Skip with a
// reason. Of several open slots only the newest can start; a flow that was not
// served for a while runs once and not once for each slot. Under catchup latest
// the newest starts if it is within the catch-up window. Under catchup none it
// starts only if it is on time: late by no more than half the interval, at least
// 50 ms and at most 5 s (5 s for cron). A slot that is on time starts whatever the
// window says, so that a window of a millisecond does not stop a flow for good.
//
// # When a schedule is replaced
//
// The slots of a schedule end where the next one is set, at that one's anchor. What
// was due by then and is not accounted for (nobody led, or the leader was a moment
// late) is skipped as replaced (Left): in the step that makes the next schedule the
// active one, whoever makes it, so that no slot is left to somebody who does not know
// the old schedule any more. Schedules that were replaced before they were ever
// active count too: a flow's record remembers them.
//
// # When things go wrong
//
// A clock that steps back yields no slot twice, since nothing at or before the
// last accounted slot is looked at; slots resume when the clock has passed it. A
// clock that steps ahead makes the slots in between due at once: the newest
// starts, the others are skipped and counted. Missed cron slots are counted one
// by one up to MaxCounted and extrapolated beyond, with exact From and To.
package schedule
