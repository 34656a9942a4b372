package intake

import "time"

// brisk is the time in which as many places as there are must be left, for it to be worth
// while that messages wait for them.
const brisk = 100 * time.Millisecond

// pace tells how fast places are left while all of them are taken. It is pure: time is an
// argument.
type pace struct {
	places int
	full   time.Time // when all were taken, as far as it was seen
	began  time.Time // of the round: it ends when as many were left as there are; zero: they have not all been taken
	left   int       // in this round
}

// filled notes that the last free place was taken.
func (p *pace) filled(now time.Time) {
	if p.began.IsZero() || now.Sub(p.full) > brisk {
		p.began, p.left = now, 0
	}
	p.full = now
}

// leave notes that a place is left, and whether all were taken by then. It tells whether a
// round ended that was brisk. A round in which places were free for long is none.
func (p *pace) leave(full bool, now time.Time) bool {
	switch {
	case full:
		p.full = now
	case now.Sub(p.full) > brisk:
		p.began = time.Time{}
	}
	if p.began.IsZero() {
		return false
	}
	if p.left++; p.left < p.places {
		return false
	}
	took := now.Sub(p.began)
	p.began, p.left = now, 0
	return took <= brisk
}
