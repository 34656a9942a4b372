package memory

import (
	"maps"
	"slices"
	"strconv"

	"github.com/tradingflow/weather-station/shared/ledger"
	"github.com/tradingflow/weather-station/shared/plan"
)

// store keeps records under the keys of package ledger's doc.go and the inverse
// of every write, so that it can go back to any earlier write.
type store struct {
	text    map[string]string
	hashes  map[string]map[string]string
	sets    map[string]map[string]struct{}
	sorted  map[string]map[string]int64
	plans   map[string]*plan.Plan
	outbox  stream[ledger.Entry]
	journal stream[ledger.Record]
	undo    []inverse
	marks   []int // lengths of undo before each call that wrote
}

func newStore() store {
	return store{text: map[string]string{}, hashes: map[string]map[string]string{}, sets: map[string]map[string]struct{}{},
		sorted: map[string]map[string]int64{}, plans: map[string]*plan.Plan{}}
}

// kind of a write that is taken back.
type kind uint8

const (
	ofText kind = iota
	ofField
	ofSet
	ofSorted
	ofPlan
	ofPost   // an entry was added to the outbox
	ofRemove // one was removed
	ofJot    // a record was added to the journal
)

// inverse takes one write back.
type inverse struct {
	kind       kind
	had        bool // there was a value before
	more       bool // a further part of one command: they are written together or not at all
	key, field string
	old        string
	n          int64 // old score, or the place of a removed entry
	plan       *plan.Plan
	entry      item[ledger.Entry]
	last       id
}

// id of an entry of a stream: milliseconds and a number within them.
type id struct{ ms, seq int64 }

func (i id) String() string {
	b := strconv.AppendInt(make([]byte, 0, 24), i.ms, 10)
	return string(strconv.AppendInt(append(b, '-'), i.seq, 10))
}

func (i id) after(j id) bool { return i.ms > j.ms || i.ms == j.ms && i.seq > j.seq }

type item[T any] struct {
	id    id
	value T
}

// stream is a list ordered by id. last survives the removal of its entry.
type stream[T any] struct {
	items []item[T]
	last  id
	born  bool // it was written to: an empty one is still there
}

// next is the id that an entry added now gets.
func (s *stream[T]) next(ms int64) id {
	if ms > s.last.ms {
		return id{ms, 0}
	}
	return id{s.last.ms, s.last.seq + 1}
}

// from returns up to count entries after an id.
func (s *stream[T]) from(after id, count int64) []item[T] {
	i, found := slices.BinarySearchFunc(s.items, after, func(e item[T], i id) int {
		switch {
		case e.id == i:
			return 0
		case e.id.after(i):
			return 1
		default:
			return -1
		}
	})
	if found {
		i++
	}
	return s.items[i:min(int64(len(s.items)), int64(i)+count)]
}

func (s *store) get(key, field string) string { return s.hashes[key][field] }

func (s *store) has(key, field string) bool { _, ok := s.hashes[key][field]; return ok }

func (s *store) exists(key string) bool { return len(s.hashes[key]) > 0 }

func (s *store) number(key, field string) int64 { return number(s.hashes[key][field]) }

func (s *store) setText(key, value string) {
	old, had := s.text[key]
	s.undo = append(s.undo, inverse{kind: ofText, key: key, old: old, had: had})
	s.text[key] = value
}

// put sets fields of a hash, given as name, value, name, value, …
func (s *store) put(key string, fields ...string) {
	h := s.hashes[key]
	if h == nil {
		h = make(map[string]string, len(fields)/2)
		s.hashes[key] = h
	}
	for i := 0; i < len(fields); i += 2 {
		old, had := h[fields[i]]
		s.undo = append(s.undo, inverse{kind: ofField, key: key, field: fields[i], old: old, had: had, more: i > 0})
		h[fields[i]] = fields[i+1]
	}
}

// putNew sets a field unless there is one.
func (s *store) putNew(key, field, value string) {
	if !s.has(key, field) {
		s.put(key, field, value)
	}
}

func (s *store) drop(key string, fields ...string) {
	h, more := s.hashes[key], false
	for _, f := range fields {
		if old, had := h[f]; had {
			s.undo = append(s.undo, inverse{kind: ofField, key: key, field: f, old: old, had: true, more: more})
			delete(h, f)
			more = true
		}
	}
	if h != nil && len(h) == 0 {
		delete(s.hashes, key)
	}
}

func (s *store) add(key, field string, n int64) int64 {
	sum := s.number(key, field) + n
	s.put(key, field, itoa(sum))
	return sum
}

func (s *store) join(key, member string) {
	if _, ok := s.sets[key][member]; ok {
		return
	}
	if s.sets[key] == nil {
		s.sets[key] = map[string]struct{}{}
	}
	s.undo = append(s.undo, inverse{kind: ofSet, key: key, field: member})
	s.sets[key][member] = struct{}{}
}

func (s *store) leave(key, member string) {
	if _, ok := s.sets[key][member]; !ok {
		return
	}
	s.undo = append(s.undo, inverse{kind: ofSet, key: key, field: member, had: true})
	delete(s.sets[key], member)
	if len(s.sets[key]) == 0 {
		delete(s.sets, key)
	}
}

func (s *store) score(key, member string) (int64, bool) {
	n, ok := s.sorted[key][member]
	return n, ok
}

func (s *store) rank(key, member string, score int64) {
	z := s.sorted[key]
	if z == nil {
		z = map[string]int64{}
		s.sorted[key] = z
	}
	old, had := z[member]
	s.undo = append(s.undo, inverse{kind: ofSorted, key: key, field: member, n: old, had: had})
	z[member] = score
}

// rankNew adds a member that is not there yet.
func (s *store) rankNew(key, member string, score int64) {
	if _, ok := s.score(key, member); !ok {
		s.rank(key, member, score)
	}
}

func (s *store) unrank(key string, members ...string) {
	z, more := s.sorted[key], false
	for _, m := range members {
		if old, had := z[m]; had {
			s.undo = append(s.undo, inverse{kind: ofSorted, key: key, field: m, n: old, had: true, more: more})
			delete(z, m)
			more = true
		}
	}
	if z != nil && len(z) == 0 {
		delete(s.sorted, key)
	}
}

type scored struct {
	member string
	score  int64
}

// ordered returns the members of a sorted set by score, then by name.
func (s *store) ordered(key string) []scored {
	out := make([]scored, 0, len(s.sorted[key]))
	for m, n := range s.sorted[key] {
		out = append(out, scored{m, n})
	}
	slices.SortFunc(out, func(a, b scored) int {
		switch {
		case a.score != b.score && a.score < b.score, a.score == b.score && a.member < b.member:
			return -1
		default:
			return 1
		}
	})
	return out
}

func (s *store) setPlan(key string, p *plan.Plan) {
	s.undo = append(s.undo, inverse{kind: ofPlan, key: key, plan: s.plans[key]})
	if p == nil {
		delete(s.plans, key)
		return
	}
	s.plans[key] = p
}

// remove takes keys away, whatever they are.
func (s *store) remove(keys ...string) {
	for _, key := range keys {
		if old, ok := s.text[key]; ok {
			s.undo = append(s.undo, inverse{kind: ofText, key: key, old: old, had: true})
			delete(s.text, key)
		}
		if h, ok := s.hashes[key]; ok {
			s.drop(key, slices.Collect(maps.Keys(h))...)
		}
		for m := range s.sets[key] {
			s.leave(key, m)
		}
		if z, ok := s.sorted[key]; ok {
			s.unrank(key, slices.Collect(maps.Keys(z))...)
		}
		if s.plans[key] != nil {
			s.setPlan(key, nil)
		}
	}
}

func (s *store) addEntry(ms int64, e ledger.Entry) {
	i := s.outbox.next(ms)
	e.ID = i.String()
	s.undo = append(s.undo, inverse{kind: ofPost, last: s.outbox.last})
	s.outbox.items = append(s.outbox.items, item[ledger.Entry]{i, e})
	s.outbox.last, s.outbox.born = i, true
}

func (s *store) removeEntry(entryID string) bool {
	for i, e := range s.outbox.items {
		if e.value.ID == entryID {
			s.undo = append(s.undo, inverse{kind: ofRemove, entry: e, n: int64(i)})
			s.outbox.items = slices.Delete(s.outbox.items, i, i+1)
			return true
		}
	}
	return false
}

func (s *store) addRecord(ms int64, r ledger.Record) {
	i := s.journal.next(ms)
	r.ID = i.String()
	s.undo = append(s.undo, inverse{kind: ofJot, last: s.journal.last})
	s.journal.items = append(s.journal.items, item[ledger.Record]{i, r})
	s.journal.last, s.journal.born = i, true
}

// mark begins a call.
func (s *store) mark() {
	if n := len(s.marks); n == 0 || s.marks[n-1] != len(s.undo) {
		s.marks = append(s.marks, len(s.undo))
	}
}

// rewind takes back every write behind the first n.
func (s *store) rewind(n int) {
	for i := len(s.undo) - 1; i >= n; i-- {
		s.takeBack(&s.undo[i])
	}
	clear(s.undo[n:])
	s.undo = s.undo[:n]
	for len(s.marks) > 0 && s.marks[len(s.marks)-1] > n {
		s.marks = s.marks[:len(s.marks)-1]
	}
}

func (s *store) takeBack(u *inverse) {
	switch u.kind {
	case ofText:
		restore(s.text, u.key, u.old, u.had)
	case ofField:
		if s.hashes[u.key] == nil {
			s.hashes[u.key] = map[string]string{}
		}
		restore(s.hashes[u.key], u.field, u.old, u.had)
		if len(s.hashes[u.key]) == 0 {
			delete(s.hashes, u.key)
		}
	case ofSet:
		if s.sets[u.key] == nil {
			s.sets[u.key] = map[string]struct{}{}
		}
		restore(s.sets[u.key], u.field, struct{}{}, u.had)
		if len(s.sets[u.key]) == 0 {
			delete(s.sets, u.key)
		}
	case ofSorted:
		if s.sorted[u.key] == nil {
			s.sorted[u.key] = map[string]int64{}
		}
		restore(s.sorted[u.key], u.field, u.n, u.had)
		if len(s.sorted[u.key]) == 0 {
			delete(s.sorted, u.key)
		}
	case ofPlan:
		restore(s.plans, u.key, u.plan, u.plan != nil)
	case ofPost:
		s.outbox.items, s.outbox.last = s.outbox.items[:len(s.outbox.items)-1], u.last
	case ofRemove:
		s.outbox.items = slices.Insert(s.outbox.items, int(u.n), u.entry)
	case ofJot:
		s.journal.items, s.journal.last = s.journal.items[:len(s.journal.items)-1], u.last
	}
}

func restore[V any](m map[string]V, key string, old V, had bool) {
	if had {
		m[key] = old
	} else {
		delete(m, key)
	}
}

func itoa(n int64) string { return strconv.FormatInt(n, 10) }

func number(text string) int64 {
	n, _ := strconv.ParseInt(text, 10, 64) // what is not there counts 0
	return n
}
