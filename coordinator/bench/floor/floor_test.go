package floor

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	amqp "github.com/rabbitmq/amqp091-go"
	"go.uber.org/goleak"

	"github.com/tradingflow/weather-station/coordinator/bench/shape"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestTasksComeBack(t *testing.T) {
	want := task{cycle: 7, node: 9999, sleep: 50 * time.Millisecond}
	got, ok := decode(want.encode())
	if !ok || got != want {
		t.Errorf("got %+v, %v; want %+v", got, ok, want)
	}
	if other := (task{cycle: 7, node: 9998}); id(other.encode()) == id(want.encode()) {
		t.Error("two nodes have one name")
	}
	if _, ok := decode(want.encode()[:taskLen-1]); ok {
		t.Error("a short message is a task")
	}
}

func TestTakeTakesAllThatWaits(t *testing.T) {
	from := make(chan int, 3*atOnce)
	for i := range atOnce + 5 {
		from <- i
	}
	if got := take(t.Context(), from, nil); len(got) != atOnce || got[0] != 0 || got[atOnce-1] != atOnce-1 {
		t.Errorf("first %d: %v", len(got), got)
	}
	if diff := cmp.Diff([]int{128, 129, 130, 131, 132}, take(t.Context(), from, make([]int, 0, atOnce))); diff != "" {
		t.Errorf("rest (-want +got):\n%s", diff)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if got := take(ctx, from, nil); len(got) != 0 {
		t.Errorf("after the end: %v", got)
	}
	close(from)
	if got := take(t.Context(), from, nil); len(got) != 0 {
		t.Errorf("of a closed channel: %v", got)
	}
}

// TestDeliveriesWaitTogether hands deliveries over as the client library does, one by one: a
// stage that comes later finds all of them.
func TestDeliveriesWaitTogether(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	from, to, ended := make(chan amqp.Delivery), make(chan amqp.Delivery, prefetch), make(chan error, 1)
	go func() { ended <- hand(ctx, from, to) }()
	for tag := range uint64(prefetch) {
		from <- amqp.Delivery{DeliveryTag: tag}
	}
	from <- amqp.Delivery{} // the hand is empty again: all before it are there
	for tag := range uint64(prefetch) {
		if d, ok := next(ctx, to, false); !ok || d.DeliveryTag != tag {
			t.Fatalf("delivery %d: got %d, %v", tag, d.DeliveryTag, ok)
		}
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("ends with %v", err)
	}
	if _, ok := next(ctx, make(chan amqp.Delivery), true); ok {
		t.Error("there is a delivery after the end")
	}
	go func() { ended <- hand(t.Context(), from, to) }()
	close(from)
	if err := <-ended; !errors.Is(err, errClosed) {
		t.Errorf("a closed channel ends with %v", err)
	}
}

func TestConfigTellsEveryFaultAndNoPassword(t *testing.T) {
	c := Config{RedisURL: "redis+sentinel://:secret@h:1/m", RabbitURL: "amqp//:secret@h", Queue: "lazy"}
	err := c.Validate()
	for _, want := range []string{"redis URL", "rabbitmq URL", `queue type "lazy"`, "name: is empty", "concurrency is 0"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v; want %q", err, want)
		}
	}
	if strings.Contains(err.Error(), "secret") {
		t.Errorf("the error tells a password: %v", err)
	}
	for url, want := range map[string]string{"amqp://a:b,c@h:1/": "amqp://a:b,c@h:1/", "amqp://h:1/,amqp://h:2/": "amqp://h:1/", "amqps://h:1/v,amqps://h:2/v": "amqps://h:1/v"} {
		c := Config{RabbitURL: url}
		if got := c.broker(); got != want {
			t.Errorf("broker of %s is %s", url, got)
		}
	}
}

// process runs one of the floor's processes in this one.
type process struct {
	in    *io.PipeWriter
	say   *json.Encoder
	out   *json.Decoder
	ended chan error
}

func launch(t *testing.T, role string, cfg Config) *process {
	t.Helper()
	inR, inW := io.Pipe()
	outR, outW := io.Pipe()
	p := &process{in: inW, say: json.NewEncoder(inW), out: json.NewDecoder(outR), ended: make(chan error, 1)}
	go func() {
		err := Serve(context.Background(), role, inR, outW)
		_ = outW.Close()
		_ = inR.Close()
		p.ended <- err
	}()
	if err := p.say.Encode(cfg); err != nil {
		t.Fatal(err)
	}
	if a := p.answer(t); !a.Ready {
		t.Fatalf("%s: %+v", role, a)
	}
	return p
}

func (p *process) answer(t *testing.T) answer {
	t.Helper()
	var a answer
	if err := p.out.Decode(&a); err != nil {
		t.Fatal(errors.Join(err, <-p.ended))
	}
	return a
}

func (p *process) end(t *testing.T) {
	t.Helper()
	_ = p.in.Close()
	if err := <-p.ended; err != nil {
		t.Error(err)
	}
}

// TestEveryShapeRunsOnEveryQueue runs both processes on real servers.
func TestEveryShapeRunsOnEveryQueue(t *testing.T) {
	cfg := Config{RedisURL: os.Getenv("STATION_TEST_REDIS_URL"), RabbitURL: os.Getenv("STATION_TEST_RABBITMQ_URL"), Concurrency: 5}
	if cfg.RedisURL == "" || cfg.RabbitURL == "" {
		if os.Getenv("STATION_TEST_REQUIRE") == "1" {
			t.Fatal("STATION_TEST_REDIS_URL or STATION_TEST_RABBITMQ_URL is not set and STATION_TEST_REQUIRE=1")
		}
		t.Skip("no real servers")
	}
	jobs := []shape.Job{
		{Name: "chain", Shape: shape.Chain(10), Flows: 1, Cycles: 2},
		{Name: "fan", Shape: shape.Fan(300), Flows: 1, Cycles: 1},
		{Name: "chains", Shape: shape.Chains(12, 4), Flows: 3, Cycles: 3},
		{Name: "sleep", Shape: shape.Apart(20, 10*time.Millisecond), Flows: 1, Cycles: 1},
		{Name: "ticks", Shape: shape.Chain(1), Flows: 4, Cycles: 2, Every: 100 * time.Millisecond},
	}
	for _, queue := range []string{Quorum, Classic, Transient} {
		t.Run(queue, func(t *testing.T) {
			cfg := cfg
			cfg.Queue, cfg.Name = queue, "station-floor-"+uuid.NewString()
			driver := launch(t, RoleDriver, cfg)
			worker := launch(t, RoleWorker, cfg)
			for _, job := range jobs {
				if err := driver.say.Encode(job); err != nil {
					t.Fatal(err)
				}
				a := driver.answer(t)
				if a.Sample == nil {
					t.Fatalf("%s: %s", job.Name, a.Error)
				}
				s, cycles, late := a.Sample, job.Flows*job.Cycles, 0
				if job.Every > 0 {
					late = cycles
				}
				if s.Nodes != job.Nodes() || len(s.Hops) != s.Nodes || len(s.Cycles) != cycles || len(s.Late) != late || s.Took <= 0 {
					t.Errorf("%s: %d nodes, %d hops, %d cycles, %d late, %s; want %d nodes, %d cycles", job.Name, s.Nodes, len(s.Hops), len(s.Cycles), len(s.Late), s.Took, job.Nodes(), cycles)
				}
				if ideal := 4 * 10 * time.Millisecond; job.Name == "sleep" && s.Took < ideal {
					t.Errorf("20 nodes of 10 ms, 5 at once, took %s", s.Took)
				}
			}
			worker.end(t)
			driver.end(t)
		})
	}
}
