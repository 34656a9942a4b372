package rabbit_test

import (
	"crypto/rand"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/tradingflow/weather-station/shared/taskqueue"
	"github.com/tradingflow/weather-station/shared/taskqueue/rabbit"
)

var kinds = []string{rabbit.Quorum, rabbit.Classic, rabbit.Transient}

// benchmark starts a publisher and a consumer on a queue of their own.
func benchmark(b *testing.B, kind string) (*rabbit.Publisher, *rabbit.Consumer, string) {
	cfg := rabbit.Config{URL: broker(b), Prefix: "bench-" + rand.Text(), Name: "bench", QueueType: kind}
	p, c, a := rabbit.NewPublisher(cfg), rabbit.NewConsumer(cfg), rabbit.NewAdmin(cfg)
	start(b, p, c, a)
	queue := taskqueue.Queue(cfg.Prefix, "default")
	b.Cleanup(func() {
		for _, q := range []string{queue, taskqueue.Parking(cfg.Prefix)} {
			if err := a.Delete(b.Context(), q); err == nil {
				continue
			}
		}
	})
	if err := a.Ensure(b.Context(), queue); err != nil {
		b.Fatal(err)
	}
	return p, c, queue
}

// BenchmarkPublish sends with up to 1,000 receipts open.
func BenchmarkPublish(b *testing.B) {
	for _, kind := range kinds {
		b.Run(kind, func(b *testing.B) {
			p, _, queue := benchmark(b, kind)
			body := make([]byte, 300)
			window := make(chan *taskqueue.Receipt, 1000)
			done := make(chan error, 1)
			go func() {
				for r := range window {
					<-r.Done()
					if r.Err() != nil {
						done <- r.Err()
						return
					}
				}
				done <- nil
			}()
			for i := 0; b.Loop(); i++ {
				r, err := p.Publish(b.Context(), queue, strconv.Itoa(i), body)
				if err != nil {
					b.Fatal(err)
				}
				window <- r
			}
			close(window)
			if err := <-done; err != nil {
				b.Fatal(err)
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msg/s")
		})
	}
}

// BenchmarkHop is one message at a time: publish, deliver, ack. It tells apart how
// long the delivery and the confirm take.
func BenchmarkHop(b *testing.B) {
	for _, kind := range kinds {
		b.Run(kind, func(b *testing.B) {
			p, c, queue := benchmark(b, kind)
			s, err := c.Slot(queue)
			if err != nil {
				b.Fatal(err)
			}
			body := make([]byte, 300)
			var delivered, confirmed []time.Duration
			for b.Loop() {
				began := time.Now()
				r, err := p.Publish(b.Context(), queue, "id", body)
				if err != nil {
					b.Fatal(err)
				}
				d, err := s.Receive(b.Context())
				if err != nil {
					b.Fatal(err)
				}
				delivered = append(delivered, time.Since(began))
				if err := d.Ack(); err != nil {
					b.Fatal(err)
				}
				<-r.Done()
				confirmed = append(confirmed, time.Since(began))
			}
			for name, took := range map[string][]time.Duration{"deliver": delivered, "confirm": confirmed} {
				slices.Sort(took)
				b.ReportMetric(float64(took[len(took)/2].Microseconds()), "us-"+name+"-p50")
				b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "us-"+name+"-p99")
			}
			if err := s.Close(); err != nil {
				b.Fatal(err)
			}
		})
	}
}
