package sim

import (
	"time"
)

// fault is something that goes wrong in a schedule.
type fault int

// Faults. Those of calls and messages strike one of them; the others are events.
const (
	faultRequestLost  fault = iota // a call never arrives
	faultAnswerLost                // a call takes effect, its answer is lost
	faultCallTwice                 // the client makes a call twice
	faultConfirmLost               // a message is stored, its confirm is lost
	faultPublishLost               // a message never arrives
	faultMessageGone               // a message is confirmed and then lost by the broker
	faultPublishTwice              // a message is stored twice
	faultReplay                    // a copy of an old message turns up
	faultConnection                // a worker's connection to the broker drops, the worker runs on
	faultDepthUnknown              // the broker does not tell how many messages wait
	faultOnceLost                  // a call for a once-key, or its answer, is lost
	faultDeclined                  // a worker without the type takes the message
	faultNoCarrier                 // the leader believes that no worker carries the type
	faultWorkerCrash               // a worker dies
	faultWorkerFrozen              // a worker stands still, often for longer than its lease
	faultWorkerCut                 // a worker can't reach the ledger
	faultLeaderCrash               // the leader dies
	faultLeaderFrozen              // the leader stands still, and another is elected
	faultDeposed                   // the leader's key is gone and it does not know
	faultLeaderCut                 // the leader can't reach the ledger
	faultRollback                  // the ledger loses its last calls
	faultTorn                      // and half of one call
	faults                         // how many there are
)

var faultNames = [faults]string{"request lost", "answer lost", "call made twice", "confirm lost", "publish lost", "message gone", "published twice",
	"old message", "connection dropped", "depth unknown", "once-key call lost", "declined", "no carrier", "worker crash", "worker frozen", "worker cut off",
	"leader crash", "leader frozen", "leader deposed", "leader cut off", "rollback", "torn call"}

func (f fault) String() string { return faultNames[f] }

// chance of a fault at each opportunity while the schedule's budget lasts.
var chance = [faults]float64{0.02, 0.02, 0.02, 0.15, 0.15, 0.15, 0.15, 0.004, 0.003, 0.1, 0.2, 0.1, 0.1,
	0.003, 0.004, 0.003, 0.002, 0.002, 0.003, 0.002, 0.004, 0.005}

// budgets are how many faults a schedule may have; one is drawn.
var budgets = []int{0, 1, 1, 2, 2, 3, 4, 6, 10}

// draw decides which faults this schedule may have, and how many.
func (w *world) drawFaults() {
	w.budget = budgets[w.rng.IntN(len(budgets))]
	loses := w.rng.IntN(3) == 0
	for f := range faults {
		w.enabled[f] = w.rng.IntN(2) == 0
		if f == faultRollback || f == faultTorn {
			w.enabled[f] = w.enabled[f] && loses
		}
	}
}

// fault says whether one strikes here, and counts it.
func (w *world) fault(f fault) bool {
	if w.healing || w.budget == 0 || !w.enabled[f] || w.rng.Float64() >= chance[f] {
		return false
	}
	w.budget--
	w.struck[f]++
	return true
}

// adversary lets events strike between two steps.
func (w *world) adversary() {
	if w.healing || w.budget == 0 {
		return
	}
	for f := faultReplay; f < faults; f++ {
		if !w.enabled[f] || f > faultConnection && f < faultWorkerCrash {
			continue
		}
		if w.rng.Float64() < chance[f] && w.strike(f) {
			w.budget--
			w.struck[f]++
			w.trace(nil, "fault: %s", f)
			return
		}
	}
}

// strike reports whether the event found something to strike.
func (w *world) strike(f fault) bool {
	switch f {
	case faultReplay:
		if len(w.broker.history) == 0 {
			return false
		}
		w.broker.waiting = append(w.broker.waiting, w.broker.history[w.rng.IntN(len(w.broker.history))])
		return true
	case faultRollback:
		return w.loseCalls()
	case faultTorn:
		return w.tear()
	case faultConnection, faultWorkerCrash, faultWorkerFrozen, faultWorkerCut:
		return w.strikeWorker(f)
	default:
		return w.strikeLeader(f)
	}
}

func (w *world) strikeWorker(f fault) bool {
	p := w.workers[w.rng.IntN(len(w.workers))]
	if p.dead || w.now.Before(p.frozen) {
		return false
	}
	switch f {
	case faultConnection:
		return w.dropConnection(p)
	case faultWorkerCrash:
		w.crashWorker(p)
	case faultWorkerFrozen:
		p.grabs++
		p.frozen = w.now.Add(w.upTo(3 * lease))
	default:
		p.grabs++
		p.cut = w.now.Add(w.upTo(2 * lease))
	}
	return true
}

func (w *world) strikeLeader(f fault) bool {
	p := w.etcd.leader
	if p == nil || p.dead {
		return false
	}
	switch f {
	case faultLeaderCrash:
		w.crash(p)
	case faultLeaderFrozen:
		p.frozen = w.now.Add(w.upTo(3 * lease))
		w.etcd.leader = nil
	case faultDeposed:
		w.etcd.leader = nil
	default:
		p.cut = w.now.Add(w.upTo(2 * lease))
	}
	return true
}

func (w *world) upTo(d time.Duration) time.Duration {
	return time.Duration(w.rng.Int64N(int64(d))) + time.Millisecond
}

// loseCalls lets the ledger go back to before one of its last calls.
func (w *world) loseCalls() bool {
	calls := w.ledger.Calls()
	for len(calls) > 0 && calls[0] < w.base {
		calls = calls[1:]
	}
	if len(calls) == 0 {
		return false
	}
	w.rewind(calls[len(calls)-1-w.rng.IntN(min(len(calls), 30))])
	return true
}

// tear lets the ledger keep only the first writes of its last call.
func (w *world) tear() bool {
	tears := w.ledger.Tears()
	if len(tears) == 0 || tears[0] <= w.base {
		return false
	}
	w.torn = true
	w.rewind(tears[w.rng.IntN(len(tears))])
	return true
}

func (w *world) rewind(n int) {
	all := w.ledger.Writes()
	w.trace(nil, "the ledger goes back by %d writes", all-n)
	w.ledger.Rewind(n)
	w.lossy = true
	w.runID++
	w.rebase()
}

// crash ends a process where it stands; its key in etcd goes with it.
func (w *world) crash(p *process) {
	p.dead = true
	w.kill(p.actors...)
	if w.etcd.leader == p {
		w.etcd.leader = nil
	}
}
