package topology

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/tradingflow/weather-station/coordinator/client"
	"github.com/tradingflow/weather-station/deploy/dev/samples"
)

// Document is a flow document and where it came from.
type Document struct {
	Name string
	Text []byte
}

// Samples returns the embedded flows, ordered by name.
func Samples() []Document {
	var out []Document
	all := samples.Flows()
	for _, name := range slices.Sorted(maps.Keys(all)) {
		out = append(out, Document{Name: name + ".yaml", Text: all[name]})
	}
	return out
}

// LoadFlows reads every *.yaml, *.yml and *.json file of a folder, ordered by
// name.
func LoadFlows(dir string) ([]Document, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("read flows: %w", err)
	}
	var out []Document
	for _, e := range entries {
		switch strings.ToLower(filepath.Ext(e.Name())) {
		case ".yaml", ".yml", ".json":
		default:
			continue
		}
		if e.IsDir() {
			continue
		}
		text, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			return nil, fmt.Errorf("read flows: %w", err)
		}
		out = append(out, Document{Name: e.Name(), Text: text})
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("no *.yaml, *.yml or *.json file is in %s", dir)
	}
	return out, nil
}

// Register stores the documents through the API. One that is refused stops no
// other; the error joins all refusals, each with the document's name and every
// fault in it.
func Register(ctx context.Context, c *client.Client, docs []Document) (flows []string, err error) {
	var refused []error
	for _, d := range docs {
		out, err := c.Register(ctx, d.Text, client.RegisterOptions{})
		if err != nil {
			refused = append(refused, refusal(d.Name, err))
			continue
		}
		flows = append(flows, out.FlowID)
	}
	return flows, errors.Join(refused...)
}

func refusal(name string, err error) error {
	var p *client.Problem
	if !errors.As(err, &p) || len(p.Errors) == 0 {
		return fmt.Errorf("%s: %w", name, err)
	}
	lines := []string{name + ":"}
	for _, f := range p.Errors {
		lines = append(lines, "  "+f.String())
	}
	return errors.New(strings.Join(lines, "\n"))
}

// CopySampleData puts the files that the samples read into dir. A file that is
// there already is left alone.
func CopySampleData(dir string) error {
	data := samples.Data()
	return fs.WalkDir(data, ".", func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		text, err := fs.ReadFile(data, path)
		if err != nil {
			return err
		}
		f, err := os.OpenFile(filepath.Join(dir, filepath.FromSlash(path)), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
		if errors.Is(err, fs.ErrExist) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("copy sample data: %w", err)
		}
		_, err = f.Write(text)
		return errors.Join(err, f.Close())
	})
}
