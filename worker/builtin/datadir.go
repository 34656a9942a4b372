package builtin

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strings"

	"github.com/tradingflow/weather-station/worker/node"
)

// openDataDir opens the folder that dataset nodes are confined to: neither ..
// nor a symbolic link leads out of an os.Root. The folder is opened for each
// attempt, so that one that appears later is found.
func openDataDir(dir string) (*os.Root, error) {
	if dir == "" {
		return nil, node.Permanent(errors.New("this worker has no data directory: start it with one"))
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("data directory: %w", err)
	}
	return root, nil
}

// checkPath refuses a path that cannot name a file inside the data directory.
// Links are os.Root's to refuse.
func checkPath(p string) error {
	switch {
	case p == "":
		return errors.New(`the parameter "path" is missing; it is relative to the worker's data directory`)
	case path.IsAbs(p) || !fs.ValidPath(path.Clean(p)) || path.Clean(p) == "." || strings.HasSuffix(p, "/"):
		return fmt.Errorf("path %q must name a file inside the worker's data directory, relative to it", p)
	}
	return nil
}

// Formats of a dataset.
const (
	formatCSV   = "csv"
	formatJSONL = "jsonl"
)

// datasetFormat returns the format asked for, else the one of the extension.
func datasetFormat(format, p string) (string, error) {
	switch format {
	case formatCSV, formatJSONL:
		return format, nil
	case "":
	default:
		return "", fmt.Errorf("format %q is neither csv nor jsonl", format)
	}
	switch strings.ToLower(path.Ext(p)) {
	case ".csv":
		return formatCSV, nil
	case ".jsonl", ".ndjson":
		return formatJSONL, nil
	}
	return "", fmt.Errorf(`path %q has no extension that tells its format: set "format" to csv or jsonl`, p)
}
