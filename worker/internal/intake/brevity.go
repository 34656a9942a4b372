package intake

import (
	"sync"
	"sync/atomic"
	"time"
)

// brevity knows how long nodes of a type took here of late, and whether that is brief: one of them may wait
// here for another's place then, since it would be longer on its way through the queue.
type brevity struct {
	most  time.Duration // that is brief; 0 = nothing is
	types sync.Map      // *atomic.Int64: ns, an eighth of it from the last one
}

// note takes in how long a node took.
func (b *brevity) note(nodeType string, took time.Duration) {
	v, known := b.types.Load(nodeType)
	if !known {
		first := new(atomic.Int64)
		first.Store(int64(took))
		if v, known = b.types.LoadOrStore(nodeType, first); !known {
			return
		}
	}
	n := v.(*atomic.Int64)
	old := n.Load()
	n.Store(old + (int64(took)-old)/8) // of two at the same time one may be lost
}

// is tells whether nodes of a type are brief; of one that never ran here it is not known.
func (b *brevity) is(nodeType string) bool {
	took := b.took(nodeType)
	return took >= 0 && took <= b.most && b.most > 0
}

// took is how long nodes of a type took on the average; -1 when none ran here.
func (b *brevity) took(nodeType string) time.Duration {
	v, known := b.types.Load(nodeType)
	if !known {
		return -1
	}
	return time.Duration(v.(*atomic.Int64).Load())
}
