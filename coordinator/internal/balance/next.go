package balance

import "slices"

// Seats is who leads a partition, and who could. Coordinators are named by their
// instances.
type Seats struct {
	Leader string   // "" while nobody leads
	Line   []string // all that stand, the leader included
}

// Move is a hand-over.
type Move struct {
	Partition int
	From, To  string
}

// Next returns the hand-over that brings the coordinators nearest to an even share.
func Next(all []Seats) (Move, bool) {
	load := map[string]int{}
	for _, s := range all {
		if s.Leader == "" {
			return Move{}, false // an election comes first
		}
		for _, c := range s.Line {
			load[c] += 0
		}
		load[s.Leader]++
	}
	var best Move
	gap := 1 // what is nearer than two is even
	for p, s := range all {
		for _, to := range s.Line {
			m := Move{p, s.Leader, to}
			if d := load[m.From] - load[m.To]; d > gap || d == gap && d > 1 && before(m, best) {
				best, gap = m, d
			}
		}
	}
	return best, gap > 1
}

// before orders moves that are as good as each other.
func before(a, b Move) bool {
	return slices.Compare([]string{a.From, a.To}, []string{b.From, b.To}) < 0
}

// Least returns the coordinator, other than the leader, that leads the fewest
// partitions of those that stand in one; "" when there is none.
func Least(all []Seats, partition int) string {
	load := map[string]int{}
	for _, s := range all {
		load[s.Leader]++
	}
	least := ""
	for _, c := range all[partition].Line {
		if c != all[partition].Leader && (least == "" || load[c] < load[least]) {
			least = c
		}
	}
	return least
}
