package catalog

import (
	"strings"
	"time"

	"github.com/tradingflow/weather-station/shared/ids"
)

// put stores a value unless something as new is known; it reports whether it
// did.
func put[T any](m map[ids.FlowID]entry[T], flow ids.FlowID, val T, rev int64) bool {
	if m[flow].rev >= rev {
		return false
	}
	m[flow] = entry[T]{val: val, present: true, rev: rev}
	return true
}

// drop marks a key as deleted by this process.
func drop[T any](m map[ids.FlowID]entry[T], flow ids.FlowID, rev int64) bool {
	old, ok := m[flow]
	if ok && old.rev >= rev {
		return false
	}
	m[flow] = entry[T]{rev: rev}
	return old.present
}

// forget removes a key whose deletion the watch has shown: no older event can
// follow.
func forget[T any](m map[ids.FlowID]entry[T], flow ids.FlowID, rev int64) bool {
	old, ok := m[flow]
	if !ok || old.rev > rev {
		return false
	}
	delete(m, flow)
	return old.present
}

// What this process wrote or read by itself (own…) reaches memory at any time,
// even after the watch has shown later changes of the same key. So it counts only
// if the watch has not come that far, and etcd's history is still the same; else the watch has told the whole story.

func (c *Catalog) ownFlow(age int, rec Record, rev int64) {
	k := Keep(rec)
	c.mu.Lock()
	defer c.mu.Unlock()
	if age == c.age && rev > c.flowsSeen && put(c.flows, rec.Flow, k, rev) {
		c.mark(rec.Flow)
	}
}

func (c *Catalog) ownFlowDelete(age int, flow ids.FlowID, rev int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if age == c.age && rev > c.flowsSeen && drop(c.flows, flow, rev) {
		c.mark(flow)
	}
}

func (c *Catalog) ownPause(age int, flow ids.FlowID, since time.Time, rev int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if age == c.age && rev > c.pausesSeen && put(c.pauses, flow, since, rev) {
		c.mark(flow)
	}
}

func (c *Catalog) ownPauseDelete(age int, flow ids.FlowID, rev int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if age == c.age && rev > c.pausesSeen && drop(c.pauses, flow, rev) {
		c.mark(flow)
	}
}

// The rest is for the load and the watches, which see each key's changes in
// order.

func (c *Catalog) setFlow(rec Record, rev int64) {
	k := Keep(rec)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.flowsSeen = max(c.flowsSeen, rev)
	if put(c.flows, rec.Flow, k, rev) {
		c.mark(rec.Flow)
	}
}

func (c *Catalog) setPause(flow ids.FlowID, since time.Time, rev int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.pausesSeen = max(c.pausesSeen, rev)
	if put(c.pauses, flow, since, rev) {
		c.mark(flow)
	}
}

func (c *Catalog) forgetFlow(flow ids.FlowID, rev int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.flowsSeen = max(c.flowsSeen, rev)
	if forget(c.flows, flow, rev) {
		c.mark(flow)
	}
}

func (c *Catalog) forgetPause(flow ids.FlowID, rev int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.pausesSeen = max(c.pausesSeen, rev)
	if forget(c.pauses, flow, rev) {
		c.mark(flow)
	}
}

// beginLoad begins a load, which tells of every key that it finds (see).
func (c *Catalog) beginLoad() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.loads++
}

// see notes that the load found a key, whether its value could be read or not.
func (c *Catalog) see(key string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if name, ok := strings.CutPrefix(key, c.pausesKey()); ok {
		sight(c.pauses, ids.FlowID(name), c.loads)
		return
	}
	sight(c.flows, ids.FlowID(strings.TrimPrefix(key, c.flowsKey())), c.loads)
}

func sight[T any](m map[ids.FlowID]entry[T], flow ids.FlowID, load uint32) {
	if e, ok := m[flow]; ok {
		e.load = load
		m[flow] = e
	}
}

// finishLoad forgets what a load at the given revision did not find, and
// completes the first load.
func (c *Catalog) finishLoad(rev int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.flowsSeen, c.pausesSeen = max(c.flowsSeen, rev), max(c.pausesSeen, rev)
	for f, e := range c.flows {
		if e.load != c.loads && forget(c.flows, f, rev) {
			c.mark(f)
		}
	}
	for f, e := range c.pauses {
		if e.load != c.loads && forget(c.pauses, f, rev) {
			c.mark(f)
		}
	}
	if !c.loaded {
		c.loaded = true
		close(c.synced)
	}
}
