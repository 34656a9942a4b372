package audit

import (
	"strconv"
	"strings"

	"github.com/tradingflow/weather-station/shared/ids"
	"github.com/tradingflow/weather-station/shared/ledger"
)

// epochs checks that no leader's write comes after one of a later leader.
func (c *checker) epochs(r ledger.Record) {
	if r.Epoch == 0 {
		if leaderOnly(r) {
			c.proof.Checked[Epochs]++
			c.breaks(Epochs, r, "%s is the leader's alone and carries no epoch", r.Op)
		}
		return
	}
	c.proof.Checked[Epochs]++
	if r.Op == "fenced" {
		c.fenced(r)
		return
	}
	switch {
	case r.Epoch < c.epoch:
		c.breaks(Epochs, r, "%s carries epoch %d after epoch %d was seen", r.Op, r.Epoch, c.epoch)
		return
	case r.Op == "takeover":
		if r.Epoch > c.epoch {
			c.usurped()
		}
		c.usurps = ledger.Record{} // Redis may have lost the first one
	case r.Epoch > c.epoch && c.epoch != 0:
		c.usurped()
		c.usurps = r
	}
	c.epoch = r.Epoch
}

// usurped notes a leader that wrote and never took over.
func (c *checker) usurped() {
	if c.usurps.ID != "" {
		c.untold = append(c.untold, c.usurps)
		c.usurps = ledger.Record{}
	}
}

// recovered hears what a leader put right. A Redis that lost its last writes may have
// lost a takeover among them, and that leader was followed by another before it
// could take over again.
func (c *checker) recovered(r ledger.Record) {
	if strings.HasPrefix(r.Detail, ledger.RedisRestarted+":") {
		c.untold = nil
	}
}

// fenced follows a refusal by epoch: "higher verb". From it on the higher one is
// what the ledger knows.
func (c *checker) fenced(r ledger.Record) {
	text, _, _ := strings.Cut(r.Detail, " ")
	n, err := strconv.ParseInt(text, 10, 64)
	higher := ids.Epoch(n)
	switch {
	case err != nil:
		c.breaks(Epochs, r, "detail %q can't be read: want the higher epoch, the verb", r.Detail)
	case higher <= r.Epoch:
		c.breaks(Epochs, r, "epoch %d is refused by epoch %d, which is no higher", r.Epoch, higher)
	case higher < c.epoch:
		c.breaks(Epochs, r, "epoch %d is refused by epoch %d after epoch %d was seen", r.Epoch, higher, c.epoch)
	case higher > c.epoch && c.epoch != 0:
		c.usurped()
		c.usurps = r
		c.usurps.Epoch = higher
		fallthrough
	default:
		c.epoch = higher
	}
}
