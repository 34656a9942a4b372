package rabbit

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"time"

	"github.com/tradingflow/weather-station/shared/failpoint"
)

const (
	glance = time.Second     // between two looks for slots that wait in vain
	renew  = 5 * time.Second // how long a channel is used, if slots wait by then
	settle = 20 * time.Millisecond
)

// session is a feed's dealings with the broker by one channel after the other, without a
// loss between them. Its methods are called by attend alone.
type session struct {
	*feed
	conn    *connection
	current *stream
	retired []*stream // whose messages are not all ended
	until   time.Time // the current one is to be renewed then
	made    int       // consumptions
	grown   time.Time // when one began last
	answer  bool      // the broker has answered in this pass
}

// serve looks after the feed until the channel or the last slot is gone, or ctx ends; the
// error is that of the channel. was says whether the queue was there before, in this
// generation.
func (f *feed) serve(ctx context.Context, conn *connection, was *bool) error {
	err := conn.bounded(answerTimeout, func() error { return f.consumer.link.cfg.attendOn(ctx, conn.Connection, f.queue, *was) })
	if *was = err == nil; err != nil {
		return err
	}
	s := &session{feed: f, conn: conn}
	defer s.end()
	if err := s.open(); err != nil {
		return err
	}
	f.mu.Lock()
	f.serving = true
	f.mu.Unlock()
	tick := time.NewTicker(glance)
	defer tick.Stop()
	again := time.NewTimer(0)
	defer again.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-f.wake:
		case <-again.C:
		case now := <-tick.C:
			if err := s.renew(now); err != nil {
				return err
			}
		}
		later, more, err := s.pass()
		if err != nil || !more {
			return err
		}
		if later > 0 {
			again.Reset(later)
		}
	}
}

// open makes a new channel the current one.
func (s *session) open() error {
	st, err := openStream(s.feed, s.conn)
	if err != nil {
		return err
	}
	if s.current != nil {
		s.retired = append(s.retired, s.current)
	}
	s.current = st
	s.until = st.began.Add(renew + rand.N(glance))
	return nil
}

// end closes all channels. Slots that wait for the end of theirs have it.
func (s *session) end() {
	for _, st := range append(s.retired, s.current) {
		if st != nil {
			st.close(s.conn)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.serving = false
	s.ends, s.backs = nil, nil
	for _, gone := range s.leaving {
		close(gone)
	}
	s.leaving = nil
}

// renew goes over to a new channel when the current one is old and slots wait. The broker
// can forget a consumer, or send to it what the channel drops, without a word; the
// message is then with the consumer, and shows nowhere, until its channel is closed.
func (s *session) renew(now time.Time) error {
	s.mu.Lock()
	due := len(s.line) > 0 && s.holding < s.wanted() && now.After(s.until)
	s.mu.Unlock()
	if !due {
		return nil
	}
	old := s.current
	if err := s.open(); err != nil {
		return err
	}
	return s.cancelAll(old)
}

func (s *session) cancelAll(st *stream) error {
	for _, c := range st.consumptions {
		if err := s.cancel(c); err != nil {
			return err
		}
	}
	return nil
}

func (s *session) cancel(c *consumption) error {
	if !c.live {
		return nil
	}
	s.answer = true
	return c.stream.cancel(s.conn, c)
}

// pass tells the broker everything that has come up. It is to be called again after
// later, if that is not 0. No more passes follow when there is no slot left.
func (s *session) pass() (later time.Duration, more bool, err error) {
	s.mu.Lock()
	ends, backs := s.ends, s.backs
	s.ends, s.backs = nil, nil
	slots := len(s.slots)
	var leaving []chan struct{}
	if slots > 0 { // or end closes them
		leaving, s.leaving = s.leaving, nil
	}
	s.mu.Unlock()
	defer func() {
		for _, gone := range leaving {
			close(gone)
		}
	}()
	s.answer = false
	if err := s.current.failure(); err != nil {
		return 0, false, err
	}
	var early []*delivery
	if early, err = s.finish(ends); err != nil {
		return 0, false, err
	}
	if slots == 0 {
		return 0, false, nil // end hands back everything
	}
	if err = s.shrink(early, backs); err == nil {
		if err = s.closeRetired(); err == nil {
			later, err = s.grow()
		}
	}
	if err == nil && len(leaving) > 0 && !s.answer {
		err = s.current.limit(s.conn, 1) // it answers when it has the acks
	}
	return later, true, err
}

// shrink acks early and hands back, and sees to it that the broker may send no more
// messages than there are slots for.
func (s *session) shrink(early, backs []*delivery) error {
	for _, d := range append(early, backs...) { // before that, or another message comes for it
		if err := s.cancel(d.from); err != nil {
			return err
		}
	}
	if err := s.ack(early); err != nil {
		return err
	}
	if err := s.handBack(backs); err != nil {
		return err
	}
	for {
		c := s.excessive()
		if c == nil {
			break
		}
		if err := s.cancel(c); err != nil {
			return err
		}
	}
	s.mu.Lock()
	var spare []*delivery
	if n := s.surplus(); n > 0 {
		n = min(n, len(s.ready))
		spare = append(spare, s.ready[len(s.ready)-n:]...)
		s.ready = s.ready[:len(s.ready)-n]
	}
	s.mu.Unlock()
	return s.handBack(spare)
}

// excessive returns a consumption to cancel when the broker may send too much.
func (s *session) excessive() (least *consumption) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.granted() <= s.wanted() {
		return nil
	}
	for _, c := range s.current.consumptions {
		if c.live && (least == nil || c.share < least.share) {
			least = c
		}
	}
	return least
}

func (s *session) granted() int {
	n := s.current.granted()
	for _, st := range s.retired {
		n += st.granted()
	}
	return n
}

// grow lets the broker send as many messages as there are slots. Slots that come back one
// after the other, from messages of a cancelled consumption, are taken together.
func (s *session) grow() (later time.Duration, err error) {
	s.mu.Lock()
	missing := s.wanted() - s.granted()
	consumes := slices.ContainsFunc(s.current.consumptions, func(c *consumption) bool { return c.live })
	s.mu.Unlock()
	if missing <= 0 {
		return 0, nil
	}
	if since := time.Since(s.grown); consumes && since < settle {
		return settle - since, nil
	}
	s.made++
	s.grown = time.Now()
	s.answer = true
	tag := s.consumer.link.cfg.Name + "-" + strconv.Itoa(s.made)
	return 0, s.current.consume(s.conn, tag, missing)
}

// closeRetired closes the channels of which every message is ended.
func (s *session) closeRetired() error {
	kept := s.retired[:0]
	for _, st := range s.retired {
		s.mu.Lock()
		done := st.granted() == 0 || st.lost.Load()
		s.mu.Unlock()
		if done {
			st.close(s.conn)
		} else {
			kept = append(kept, st)
		}
	}
	s.retired = kept
	return nil
}

// finish tells the broker what users have ended, but for early acks, which it returns.
func (s *session) finish(ends []*delivery) (early []*delivery, err error) {
	var done []*delivery
	for _, d := range ends {
		switch d.how {
		case acked:
			done = append(done, d)
		case ackedEarly:
			early = append(early, d)
		default:
			err = s.tell(d, func() error { return d.from.stream.channel.Reject(d.tag, false) })
		}
		if err != nil {
			return nil, err
		}
	}
	return early, s.ack(done)
}

// handBack gives messages to other consumers. It uses nack: newer brokers count a
// reject, but not a nack, against the delivery limit.
func (s *session) handBack(all []*delivery) error {
	for _, d := range all {
		if err := s.tell(d, func() error { return d.from.stream.channel.Nack(d.tag, false, true) }); err != nil {
			return err
		}
	}
	return nil
}

// tell ends one message.
func (s *session) tell(d *delivery, say func() error) error {
	s.mu.Lock()
	d.from.stream.tags.end(d.tag)
	d.from.unacked--
	s.mu.Unlock()
	if err := say(); err != nil && d.from.stream == s.current {
		return fmt.Errorf("end a message: %w", err)
	}
	return nil
}

// ack acks messages, with as few frames as possible.
func (s *session) ack(all []*delivery) error {
	for _, st := range append(s.retired, s.current) {
		var batch []uint64
		for _, d := range all {
			if d.from.stream == st {
				batch = append(batch, d.tag)
			}
		}
		if len(batch) == 0 {
			continue
		}
		failpoint.Before("ack")
		s.mu.Lock()
		for _, d := range all {
			if d.from.stream == st {
				d.from.unacked--
			}
		}
		upTo, alone := st.tags.ack(batch)
		s.mu.Unlock()
		var err error
		if upTo > 0 {
			err = st.channel.Ack(upTo, true)
		}
		for _, tag := range alone {
			if err == nil {
				err = st.channel.Ack(tag, false)
			}
		}
		failpoint.After("ack")
		if err != nil && st == s.current {
			return fmt.Errorf("ack: %w", err)
		}
	}
	return nil
}
