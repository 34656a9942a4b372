package dispatch

import (
	"slices"
	"sync/atomic"
	"time"

	"github.com/tradingflow/weather-station/shared/task"
)

// Measures of a window.
const (
	ahead   = 15 * time.Millisecond // of the workers' time that may wait in the queue
	stay    = 50 * time.Millisecond // how long a message may stay in its slot
	memory  = 30 * time.Millisecond // over which the rate is averaged
	fresh   = 10 * time.Second      // until a rate is forgotten: other nodes may come
	parts   = 8                     // messages that a worker's share of what waits makes at least
	unknown = 128                   // nodes, while it is not known how many slots there are
	least   = 16
	widest  = 4096
)

// Measures of the questions.
const (
	soonest = 4 * time.Millisecond   // between two
	seldom  = 25 * time.Millisecond  // the same, while the queue drains
	rarest  = 250 * time.Millisecond // the same, while it does not
	silence = 250 * time.Millisecond // without an answer, then more is offered all the same
)

// window says how many nodes one pool may be offered now. It is pure but for unconfirmed:
// time is an argument.
type window struct {
	slots   int     // of the workers; 0: not known, or none
	workers int     // that have them
	rate    float64 // nodes a second that they take; 0: not known
	best    float64 // the same if all was worked on that was taken: the size of messages goes by it
	learned time.Time

	// What waits in the queue, as of the last answer and what was offered since.
	sizes  []int // nodes of each message of this leader, the oldest first
	others int   // nodes of messages of others, or of more than was offered
	nodes  int   // in all

	asked     time.Time // when the question was asked that is out; zero: none is
	then      int       // nodes that waited then
	later     int       // nodes,
	messages  int       // and messages that were offered after it
	due       time.Time // the next question is to be asked then
	pause     time.Duration
	busy      bool      // the last answer found messages in the queue: every slot has one
	since     time.Time // when a row of answers that found none began,
	taken     []int     // nodes of the messages that were taken in it last, as many as slots can hold,
	worked    int       // and of those before
	read      time.Time // when the last question was asked that was answered; zero: the next answer says nothing of the rate
	mute      time.Time // when the first question was asked that was not; zero: the last one was
	overrules int       // how often more was offered without an answer

	unconfirmed atomic.Int64 // nodes that are offered and not confirmed
}

// size is how many nodes may wait in the queue. One that was found empty gets more: the
// workers may have had to wait for the answer that says so, and the next one is as late.
func (w *window) size() int {
	n := w.slots
	switch {
	case !w.busy && !w.read.IsZero():
		n *= 4
	case w.rate == 0:
		n *= 2
	}
	n = max(n, int(w.rate*ahead.Seconds()))
	if w.slots == 0 && w.rate == 0 {
		n = unknown
	}
	return min(max(n, least), widest)
}

// room is how many nodes may be offered now.
func (w *window) room() int {
	if w.choked() {
		return 0
	}
	return w.size()<<max(w.overrules-1, 0) - w.nodes
}

// squeeze reports whether one more node may be offered although there is no room, after so
// many.
func (w *window) squeeze(already int) bool {
	return !w.choked() && w.nodes < 2*w.size() && already < w.size()
}

// choked reports whether the broker has confirmed too little of what it got.
func (w *window) choked() bool { return w.unconfirmed.Load() > int64(4*w.size())<<w.overrules }

// low reports whether no question is worth its while.
func (w *window) low() bool { return 2*w.nodes <= w.size() && !w.choked() }

// pack is how many nodes may go in one message when so many wait and the workers read at most
// so many in one. held says that there is no room for all of them.
func (w *window) pack(waiting, most int, held bool) int {
	if w.slots < 1 {
		return 1
	}
	n := waiting / (2 * w.slots)
	switch {
	case w.best > 0:
		n = min(max(n, waiting/(parts*max(w.workers, 1))), int(w.best*stay.Seconds()/float64(w.slots)))
	case held:
		n = min(n, 2)
	}
	return max(1, min(n, most, task.MaxPack))
}

// resize notes how many slots there are. What slots held that are gone was not worked on: the next answer says nothing
// of the rate then.
func (w *window) resize(slots, workers int) {
	if slots < w.slots {
		w.read = time.Time{}
	}
	w.slots, w.workers = slots, workers
}

// forget drops a rate that was learned long ago.
func (w *window) forget(now time.Time) {
	if max(w.rate, w.best) > 0 && now.Sub(w.learned) > fresh {
		w.rate, w.best, w.read = 0, 0, time.Time{}
	}
}

// offered notes a message of n nodes. What has just been sent can't have been taken, so the
// question waits when it makes the window half full.
func (w *window) offered(n int, now time.Time) {
	low := w.low()
	w.sizes = append(w.sizes, n)
	w.nodes += n
	if !w.asked.IsZero() {
		w.later += n
		w.messages++
	}
	if at := now.Add(soonest); low && !w.low() && w.due.Before(at) {
		w.due = at
	}
}

// ask reports whether the broker is to be asked now; the question is out then.
func (w *window) ask(now time.Time) bool {
	if w.low() || !w.asked.IsZero() || now.Before(w.due) {
		return false
	}
	w.asked, w.then, w.later, w.messages = now, w.nodes, 0, 0
	if w.mute.IsZero() {
		w.mute = now
	}
	return true
}

// wake is when something is to be done again, if no answer comes before.
func (w *window) wake() time.Time {
	at := w.due
	if over := w.mute.Add(silence * time.Duration(w.overrules+1)); !w.asked.IsZero() || !w.mute.IsZero() && over.Before(at) {
		at = over
	}
	return at
}

// answer notes that so many messages waited in the queue.
func (w *window) answer(ready int, now time.Time) {
	asked := w.asked
	w.asked, w.mute, w.overrules = time.Time{}, time.Time{}, 0
	taken := slices.Clone(w.sizes[:max(0, len(w.sizes)-w.messages-ready)])
	w.keep(ready + w.messages)
	drained := max(0, w.then-(w.nodes-w.later))
	w.learn(drained, taken, ready > 0, asked)
	switch {
	case drained == 0 && ready > 0:
		w.pause = min(max(soonest, w.pause*3/2), rarest)
	case ready > 0 && w.rate > 0:
		half := min(float64(w.size())/2/w.rate, seldom.Seconds())
		w.pause = max(soonest, time.Duration(half*float64(time.Second)))
	default:
		w.pause = soonest
	}
	w.due = now.Add(w.pause)
}

// learn notes how many nodes were taken since the last answer, and in which messages. If that one found messages in
// the queue every slot had one, and so much was worked on; at least, if none is left. Slots that have no message take
// some at once without working on them, so of a queue that is found empty again and again it is what was
// taken but for the last messages, as many as slots can hold. Slots that are new take some too: an answer
// counts for no more than twice the rate that was known.
func (w *window) learn(drained int, taken []int, busy bool, asked time.Time) {
	took := asked.Sub(w.read).Seconds()
	known := !w.read.IsZero() && took > 0
	rate := 0.0
	if known {
		rate = float64(drained) / took
	}
	if busy || !known {
		w.since, w.taken, w.worked = asked, nil, 0
	} else {
		w.taken = append(w.taken, taken...)
		if n := len(w.taken) - 2*w.slots; n > 0 {
			w.worked += sum(w.taken[:n])
			w.taken = w.taken[n:]
			w.best = max(w.best, rate)
		}
		w.rate = max(w.rate, float64(w.worked)/asked.Sub(w.since).Seconds())
	}
	if known && w.busy {
		share := min(1, took/memory.Seconds())
		switch {
		case w.rate == 0:
			w.rate = rate
		case busy || rate > w.rate:
			w.rate += share * (min(rate, 2*w.rate) - w.rate)
		}
		switch {
		case w.best == 0:
			w.best = w.rate
		case busy:
			w.best += share * (min(rate, 2*w.rate) - w.best)
		}
	}
	w.read, w.learned, w.busy = asked, asked, busy
}

// keep says that so many messages wait. What this leader has published last is among them.
func (w *window) keep(messages int) {
	w.others = 0
	if more := messages - len(w.sizes); more > 0 {
		average := 1
		if len(w.sizes) > 0 {
			average = sum(w.sizes) / len(w.sizes)
		}
		w.others = more * average
	} else {
		w.sizes = w.sizes[-more:]
	}
	w.nodes = sum(w.sizes) + w.others
}

// failed notes that the question was not answered.
func (w *window) failed(now time.Time) {
	w.asked, w.read = time.Time{}, time.Time{}
	w.due = now.Add(seldom)
}

// overrule opens the window when the broker has given no answer for long, and reports
// whether it has not.
func (w *window) overrule(now time.Time) bool {
	if w.mute.IsZero() || now.Before(w.mute.Add(silence*time.Duration(w.overrules+1))) {
		return false
	}
	w.overrules = min(w.overrules+1, 16)
	w.mute = now.Add(-silence * time.Duration(w.overrules)) // of late looks each counts once
	w.sizes, w.others, w.nodes, w.read = nil, 0, 0, time.Time{}
	w.then, w.later, w.messages = 0, 0, 0
	return true
}

func sum(sizes []int) (n int) {
	for _, s := range sizes {
		n += s
	}
	return n
}
