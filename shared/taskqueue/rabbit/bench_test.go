package rabbit_test

import (
	"context"
	"crypto/rand"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
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

// BenchmarkSlots is a backlog: what is published is received and acked at once by
// many slots. Beside the rate it tells the CPU time a message costs this process and,
// when the servers are those of scripts/servers, the broker.
func BenchmarkSlots(b *testing.B) {
	for _, kind := range []string{rabbit.Quorum, rabbit.Classic, rabbit.Transient} {
		for _, slots := range []int{1, 4, 50} {
			b.Run(kind+"/slots="+strconv.Itoa(slots), func(b *testing.B) {
				p, c, queue := benchmark(b, kind)
				left := make(chan struct{}, 2000) // what is published and not acked
				ctx, cancel := context.WithCancel(b.Context())
				defer cancel()
				var working sync.WaitGroup
				for range slots {
					s, err := c.Slot(queue)
					if err != nil {
						b.Fatal(err)
					}
					working.Go(func() {
						defer func() { _ = s.Close() }()
						for {
							d, err := s.Receive(ctx)
							if err != nil {
								return
							}
							if err := d.Ack(); err != nil {
								b.Error(err)
							}
							<-left
						}
					})
				}
				body := make([]byte, 200)
				ours, brokers := cpu(), brokerCPU()
				for b.Loop() {
					left <- struct{}{}
					if _, err := p.Publish(ctx, queue, "1764108716000-0", body); err != nil {
						b.Fatal(err)
					}
				}
				for range cap(left) { // until all are acked
					left <- struct{}{}
				}
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msg/s")
				b.ReportMetric(float64((cpu()-ours).Microseconds())/float64(b.N), "cpu-µs/msg")
				b.ReportMetric(float64((brokerCPU()-brokers).Microseconds())/float64(b.N), "broker-µs/msg")
				cancel()
				working.Wait()
			})
		}
	}
}

// cpu is the CPU time of this process.
func cpu() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// brokerCPU is the CPU time of the broker that scripts/servers runs; 0 when it does not.
func brokerCPU() time.Duration {
	text, err := os.ReadFile(filepath.Join(os.Getenv("STATION_TEST_SERVERS_DIR"), "rabbitmq", "pid"))
	if err != nil {
		return 0
	}
	pid, _, _ := strings.Cut(string(text), " ")
	stat, err := os.ReadFile("/proc/" + strings.TrimSpace(pid) + "/stat")
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	fields := strings.Fields(rest)
	if len(fields) < 13 {
		return 0
	}
	user, _ := strconv.ParseInt(fields[11], 10, 64) // in ticks of 10 ms
	system, _ := strconv.ParseInt(fields[12], 10, 64)
	return time.Duration(user+system) * 10 * time.Millisecond
}
