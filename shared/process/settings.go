package process

import (
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
)

const envPrefix = "STATION_"

// Base holds the settings of every binary. Embed it in a settings struct.
type Base struct {
	Config    string           `help:"Read settings from this YAML or JSON file." placeholder:"FILE"`
	LogLevel  string           `help:"Least level that is logged: ${enum}." enum:"trace,debug,info,warn,error" default:"info"`
	LogFormat string           `help:"Form of log lines: ${enum}." enum:"text,json" default:"text"`
	Version   kong.VersionFlag `help:"Print the version and exit."`
}

// Spec says how Parse reads the settings of one binary. The zero value of every
// field but Name has a meaning.
type Spec struct {
	Name        string // of the binary
	Description string // one paragraph for --help
	Args        []string
	LookupEnv   func(string) (string, bool) // nil: os.LookupEnv
	Stdout      io.Writer                   // nil: os.Stdout
	Stderr      io.Writer                   // nil: os.Stderr
	Exit        func(code int)              // nil: os.Exit; called by --help and --version
	Options     []kong.Option               // more options for kong
}

// UsageError says that the settings are wrong. Its text lists every fault.
type UsageError struct{ Err error }

func (e *UsageError) Error() string { return e.Err.Error() }

// Unwrap returns the fault or the joined faults.
func (e *UsageError) Unwrap() error { return e.Err }

// Parse fills settings, a pointer to a struct with kong's tags, from flags,
// environment, config file and defaults, in this order of precedence. A config
// file is read if there is a flag --config and it is set on the command line or
// by STATION_CONFIG. If the struct or a part of it has a method Validate() error,
// that is called at the end. Errors are *UsageError.
//
// The answer serves programs with subcommands; others ignore it.
func Parse(spec Spec, settings any) (*kong.Context, error) {
	if spec.LookupEnv == nil {
		spec.LookupEnv = os.LookupEnv
	}
	if spec.Stdout == nil {
		spec.Stdout = os.Stdout
	}
	if spec.Stderr == nil {
		spec.Stderr = os.Stderr
	}
	if spec.Exit == nil {
		spec.Exit = os.Exit
	}
	src := &source{lookup: spec.LookupEnv, values: make(map[*kong.Flag]found)}
	options := append([]kong.Option{
		kong.Name(spec.Name),
		kong.Description(spec.Description),
		kong.Writers(spec.Stdout, spec.Stderr),
		kong.Exit(spec.Exit),
		kong.Vars{"version": spec.Name + " " + Version()},
		kong.ValueFormatter(showEnv),
		kong.WithBeforeResolve(src.collect),
		kong.Resolvers(src),
	}, spec.Options...)
	parser, err := kong.New(settings, options...)
	if err != nil {
		return nil, fmt.Errorf("settings of %s: %w", spec.Name, err)
	}
	ctx, err := parser.Parse(spec.Args)
	if err != nil {
		return nil, &UsageError{Err: plain(err)}
	}
	return ctx, nil
}

// plain takes off kong's wrapper, whose text repeats that of its content.
func plain(err error) error {
	var p *kong.ParseError
	if errors.As(err, &p) && p.Unwrap() != nil {
		return p.Unwrap()
	}
	return err
}

// envName is the variable of a flag; empty for the flags that have none.
func envName(f *kong.Flag) string {
	if f.Name == "help" || f.Name == "version" {
		return ""
	}
	if len(f.Value.Tag.Envs) > 0 { // kong reads these itself
		return ""
	}
	return envPrefix + strings.ToUpper(strings.NewReplacer("-", "_", ".", "_").Replace(f.Name))
}

// showEnv makes --help show each flag's variable. The tag of the flag must not
// name it, for kong would then let the config file win.
func showEnv(v *kong.Value) string {
	help := kong.DefaultHelpValueFormatter(v)
	if v.Flag == nil || envName(v.Flag) == "" {
		return help
	}
	return strings.TrimSpace(help + " ($" + envName(v.Flag) + ")")
}

// found is a value and where it comes from.
type found struct {
	text  string
	place string
}

// source resolves flags from the environment and the config file.
type source struct {
	lookup func(string) (string, bool)
	values map[*kong.Flag]found
}

// collect finds the values of all flags that are not on the command line, and
// lists all their faults.
func (s *source) collect(ctx *kong.Context) error {
	var faults []error
	flags := ctx.Flags()
	onLine := make(map[*kong.Flag]bool)
	for _, p := range ctx.Path {
		if p.Flag != nil {
			onLine[p.Flag] = true
		}
	}
	byName := make(map[string]*kong.Flag, len(flags))
	for _, f := range flags {
		byName[f.Name] = f
	}
	for _, f := range flags {
		v, ok, err := s.fromEnv(f, byName)
		if err != nil {
			faults = append(faults, err)
		} else if ok && !onLine[f] {
			s.values[f] = v
		}
	}
	if f := byName["config"]; f != nil {
		path, _ := ctx.FlagValue(f).(string)
		if v, ok := s.values[f]; ok {
			path = v.text
		}
		if path != "" {
			faults = append(faults, s.fromFile(path, ctx.Model.Node, byName, onLine)...)
		}
	}
	for _, f := range flags {
		if v, ok := s.values[f]; ok {
			if err := check(f, v); err != nil {
				faults = append(faults, err)
			}
		}
	}
	return errors.Join(faults...)
}

// fromEnv reads NAME, or the file that NAME_FILE names.
func (s *source) fromEnv(f *kong.Flag, byName map[string]*kong.Flag) (found, bool, error) {
	name := envName(f)
	if name == "" {
		return found{}, false, nil
	}
	val, _ := s.lookup(name)
	if byName[f.Name+"-file"] != nil { // NAME_FILE is a setting of its own
		return found{val, name}, val != "", nil
	}
	path, _ := s.lookup(name + "_FILE")
	switch {
	case path == "":
		return found{val, name}, val != "", nil
	case val != "":
		return found{}, false, fmt.Errorf("%s and %s_FILE are both set; set one of them", name, name)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return found{}, false, fmt.Errorf("%s_FILE: %w", name, err)
	}
	return found{strings.TrimRight(string(data), "\r\n"), name + "_FILE"}, true, nil
}

// fromFile takes over the values of the config file that nothing overrides.
// Keys of other subcommands are known, and passed over.
func (s *source) fromFile(path string, root *kong.Node, active map[string]*kong.Flag, onLine map[*kong.Flag]bool) []error {
	known := make(map[string]*kong.Flag)
	_ = kong.Visit(root, func(n kong.Visitable, next kong.Next) error {
		if f, ok := n.(*kong.Flag); ok && !slices.Contains([]string{"help", "version", "config"}, f.Name) {
			known[f.Name] = f
		}
		return next(nil)
	})
	for name, f := range active {
		if known[name] != nil {
			known[name] = f
		}
	}
	values, faults := readConfig(path, known)
	for name, v := range values {
		f := active[name]
		if f == nil || onLine[f] {
			continue
		}
		if _, ok := s.values[f]; !ok {
			s.values[f] = v
		}
	}
	return faults
}

// check tries whether a value fits its flag. The value itself stays out of the
// error when it may be a secret.
func check(f *kong.Flag, v found) error {
	if err := f.Parse(scan(v.text), reflect.New(f.Target.Type()).Elem()); err != nil {
		return fmt.Errorf("%s: %s", v.place, Redact(strings.TrimPrefix(err.Error(), f.ShortSummary()+": ")))
	}
	if f.Enum != "" && !f.IsCumulative() && !f.EnumMap()[v.text] {
		return fmt.Errorf("%s: must be one of %s, not %q", v.place, strings.Join(f.EnumSlice(), ", "), v.text)
	}
	return nil
}

func scan(text string) *kong.Scanner {
	return kong.Scan().PushTyped(text, kong.FlagValueToken)
}

// Validate has nothing to do: collect has checked.
func (s *source) Validate(*kong.Application) error { return nil }

// Resolve hands out what collect has found.
func (s *source) Resolve(_ *kong.Context, _ *kong.Path, f *kong.Flag) (any, error) {
	v, ok := s.values[f]
	if !ok {
		return nil, nil
	}
	return v.text, nil
}
