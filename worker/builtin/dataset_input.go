package builtin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/tradingflow/weather-station/worker/node"
)

const maxWindow = 10_000 // rows

// datasetInput plays a file of rows, one more row each cycle. Cycle n has the
// row of offset start+n-1 as its newest one and delivers it with up to window-1
// rows before it, never rows before start.
//
// Parameters: path; format csv or jsonl (default: by extension); window
// (default 1); start (rows to leave out, default 0); on_end stop (default: the
// component ends with "end of data"), wrap (begin again at start; a window
// never spans two rounds) or fail; columns (the columns to keep).
//
// Outputs: rows (oldest first), row (the newest), index (0, 1, … of row counted
// from start) and total (rows from start on). A CSV cell that is the text of a
// JSON number becomes that number, digit by digit; any other cell is a string.
type datasetInput struct {
	dataDir string
	indexes *rowIndexes
}

func newDatasetInput(dataDir string) *datasetInput {
	return &datasetInput{dataDir: dataDir, indexes: newRowIndexes()}
}

type datasetInputParameters struct {
	common
	Path    string   `json:"path"`
	Format  string   `json:"format"`
	Window  *int     `json:"window"`
	Start   int      `json:"start"`
	OnEnd   string   `json:"on_end"`
	Columns []string `json:"columns"`
}

func (p *datasetInputParameters) check() (format string, window int, err error) {
	var faults []error
	if err := checkPath(p.Path); err != nil {
		faults = append(faults, err)
	} else if format, err = datasetFormat(p.Format, p.Path); err != nil {
		faults = append(faults, err)
	}
	window = 1
	if p.Window != nil {
		window = *p.Window
	}
	if window < 1 || window > maxWindow {
		faults = append(faults, fmt.Errorf("window is %d; it must be 1 to %d", window, maxWindow))
	}
	if p.Start < 0 {
		faults = append(faults, fmt.Errorf("start is %d; it must be 0 or more", p.Start))
	}
	switch p.OnEnd {
	case "":
		p.OnEnd = "stop"
	case "stop", "wrap", "fail":
	default:
		faults = append(faults, fmt.Errorf("on_end is %q; it must be stop, wrap or fail", p.OnEnd))
	}
	return format, window, errors.Join(faults...)
}

func (d *datasetInput) Run(ctx context.Context, in *node.Input) (node.Result, error) {
	var p datasetInputParameters
	if err := bind(in, &p); err != nil {
		return node.Result{}, err
	}
	format, window, err := p.check()
	if err != nil {
		return node.Result{}, node.Permanent(fmt.Errorf("dataset_input: %w", err))
	}
	res, err := d.read(ctx, in.Cycle, &p, format, window)
	if err != nil {
		return node.Result{}, fmt.Errorf("dataset_input: %w", err)
	}
	return res, nil
}

func (d *datasetInput) read(ctx context.Context, cycle int64, p *datasetInputParameters, format string, window int) (node.Result, error) {
	root, err := openDataDir(d.dataDir)
	if err != nil {
		return node.Result{}, err
	}
	defer root.Close()
	f, err := openRegular(root, p.Path)
	if err != nil {
		return node.Result{}, err
	}
	defer f.Close()
	index, err := d.indexes.of(ctx, f, p.Path, format)
	if err != nil {
		return node.Result{}, err
	}
	total := int64(max(0, index.rows()-p.Start))
	i := cycle - 1
	switch {
	case i < 0:
		return node.Result{}, permanentf("cycle %d has no row: cycles count from 1", cycle)
	case i < total:
	case p.OnEnd == "stop":
		return node.Stop("end of data"), nil
	case p.OnEnd == "fail":
		return node.Result{}, permanentf("%s: end of data: it has %d rows from row %d on", p.Path, total, p.Start)
	case total == 0:
		return node.Result{}, permanentf("%s has no rows from row %d on", p.Path, p.Start)
	default:
		i %= total
	}
	first := max(0, i-int64(window)+1)
	rows, err := index.read(f, p.Start+int(first), p.Start+int(i)+1)
	if err != nil {
		return node.Result{}, err
	}
	if rows, err = project(rows, p.Columns, p.Path, p.Start+int(first)); err != nil {
		return node.Result{}, err
	}
	return node.Outputs(map[string]any{"rows": rows, "row": rows[len(rows)-1], "index": i, "total": total}), nil
}

// openRegular opens a file for reading. A path that leads out and a file of
// another kind are permanent errors; a missing one may appear before a retry.
func openRegular(root *os.Root, p string) (*os.File, error) {
	info, err := root.Stat(p)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, fs.ErrPermission):
		return nil, err
	case err != nil: // os.Root names no kind of error for a path that escapes
		return nil, node.Permanent(err)
	case !info.Mode().IsRegular():
		return nil, permanentf("%s is not a regular file", p)
	}
	return root.Open(p)
}

// project keeps the named columns; no names keep all.
func project(rows []map[string]json.RawMessage, columns []string, p string, first int) ([]map[string]json.RawMessage, error) {
	if len(columns) == 0 {
		return rows, nil
	}
	out := make([]map[string]json.RawMessage, len(rows))
	for i, row := range rows {
		out[i] = make(map[string]json.RawMessage, len(columns))
		for _, c := range columns {
			v, ok := row[c]
			if !ok {
				return nil, permanentf("%s: row %d has no column %q", p, first+i, c)
			}
			out[i][c] = v
		}
	}
	return out, nil
}
