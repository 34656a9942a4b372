package ledger

import (
	"bytes"
	"encoding/json"
	"sync"

	"github.com/tradingflow/weather-station/shared/plan"
)

// mostDecoded bounds the text of the nodes that are kept, in bytes; beyond it all are
// forgotten.
const mostDecoded = 8 << 20

// decoded keeps what the text of a node in the ledger means. A worker claims the same
// nodes in every cycle, and to decode one takes longer than all else that Claim does.
type decoded struct {
	mu    sync.Mutex
	nodes map[string]plan.Node // by text
	bytes int
}

// decode returns a node whose parameters are the caller's own, since handlers get to
// see them. The rest is shared and not to be changed.
func (d *decoded) decode(text string) (plan.Node, error) {
	d.mu.Lock()
	n, known := d.nodes[text]
	d.mu.Unlock()
	if !known {
		if err := json.Unmarshal([]byte(text), &n); err != nil {
			return n, err
		}
		d.mu.Lock()
		if d.nodes == nil || d.bytes+len(text) > mostDecoded {
			d.nodes, d.bytes = map[string]plan.Node{}, 0
		}
		if _, again := d.nodes[text]; !again {
			d.nodes[text] = n
			d.bytes += len(text)
		}
		d.mu.Unlock()
	}
	n.Parameters = bytes.Clone(n.Parameters)
	return n, nil
}
