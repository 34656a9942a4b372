package ledger

import (
	"strconv"

	"github.com/tradingflow/weather-station/shared/ids"
)

// Keys are built here and in lua/prelude.lua, nowhere else; the conformance
// suite reads through these what the scripts wrote through theirs.

func (l *Ledger) key(name string) string { return l.prefix + ":" + name }

func (l *Ledger) flowKey(f ids.FlowID, what string) string {
	return l.prefix + ":flow:" + string(f) + ":" + what
}

func (l *Ledger) planKey(f ids.FlowID, revision int64) string {
	return l.flowKey(f, "plan:"+strconv.FormatInt(revision, 10))
}

func (l *Ledger) cycleKey(f ids.FlowID, n int64, what string) string {
	return l.flowKey(f, "cycle:"+strconv.FormatInt(n, 10)+":"+what)
}

func (l *Ledger) nodeKey(f ids.FlowID, n int64, node ids.NodeID) string {
	return l.cycleKey(f, n, "node:"+string(node)+":state")
}

// What held nodes can wait for; part of the key of the set that keeps them.
func heldByFlow(f ids.FlowID) string { return "flow:" + string(f) }

// HeldByType names the wait for a worker of pool that carries nodeType.
func HeldByType(pool, nodeType string) string { return "type:" + pool + ":" + nodeType }
