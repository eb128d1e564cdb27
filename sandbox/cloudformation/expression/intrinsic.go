package expression

import (
	"encoding/base64"
	"encoding/json"
	"net/netip"
	"regexp"
	"strconv"
	"strings"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/facts"
)

// compiler finds the compiler of an intrinsic function.
// https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/intrinsic-function-reference.html
func compiler(name string) func(arg any, place string) (Expr, error) {
	switch name {
	case "Ref":
		return compileRef
	case "Fn::GetAtt":
		return compileGetAtt
	case "Fn::Sub":
		return compileSub
	case "Fn::Join":
		return compileJoin
	case "Fn::Select":
		return compileSelect
	case "Fn::Split":
		return compileSplit
	case "Fn::FindInMap":
		return compileFindInMap
	case "Fn::GetAZs":
		return compileGetAZs
	case "Fn::Base64":
		return compileBase64
	case "Fn::Cidr":
		return compileCidr
	case "Fn::If":
		return compileIf
	case "Fn::ImportValue":
		return compileImport
	}
	return nil
}

func compileRef(arg any, _ string) (Expr, error) {
	name, ok := arg.(string)
	if !ok || name == "" {
		return nil, invalid("Template format error: every Ref object must have a single String value.")
	}
	return ref{name}, nil
}

func compileGetAtt(arg any, place string) (Expr, error) {
	malformed := invalid("Template error: every Fn::GetAtt object requires two non-empty parameters, the resource name and the resource attribute")
	switch arg := arg.(type) {
	case string:
		name, a, _ := strings.Cut(arg, ".")
		if name == "" || a == "" {
			return nil, malformed
		}
		return attr{name, a}, nil
	case []any:
		if len(arg) != 2 {
			return nil, malformed
		}
		name, ok := arg[0].(string)
		if !ok || name == "" {
			return nil, malformed
		}
		if a, ok := arg[1].(string); ok {
			if a == "" {
				return nil, malformed
			}
			return attr{name, a}, nil
		}
		a, err := Compile(arg[1], place)
		if err != nil {
			return nil, err
		}
		return attrOf{name, a}, nil
	}
	return nil, malformed
}

// call is a function whose arguments are all evaluated; apply computes the
// result from them. As soon as an argument is unknown, so is the result.
type call struct {
	args  []Expr
	apply func(s *Scope, args []any) (any, error)
}

func (e call) Eval(s *Scope) (any, error) {
	args := make([]any, len(e.args))
	unknown := false
	for i, a := range e.args {
		v, err := a.Eval(s)
		if err != nil {
			return nil, err
		}
		unknown = unknown || Unknown(v)
		args[i] = v
	}
	if unknown {
		return facts.Unknown{}, nil
	}
	v, err := e.apply(s, args)
	if err != nil {
		return nil, err
	}
	switch v := v.(type) {
	case string:
		err = s.spend(len(v))
	case []any:
		err = s.spend(listCost * len(v))
	}
	return v, err
}

func (e call) Walk(s *Scope, visit func(Ref)) {
	for _, a := range e.args {
		a.Walk(s, visit)
	}
}

// Unknown tells whether a value is unknown or contains something unknown.
func Unknown(v any) bool {
	switch v := v.(type) {
	case facts.Unknown:
		return true
	case []any:
		for _, x := range v {
			if Unknown(x) {
				return true
			}
		}
	case map[string]any:
		for _, x := range v {
			if Unknown(x) {
				return true
			}
		}
	}
	return false
}

// arguments compiles a list of between least and most arguments.
func arguments(arg any, place string, least, most int, malformed error) ([]Expr, error) {
	l, ok := arg.([]any)
	if !ok || len(l) < least || len(l) > most {
		return nil, malformed
	}
	out := make([]Expr, len(l))
	for i, x := range l {
		e, err := Compile(x, place)
		if err != nil {
			return nil, err
		}
		out[i] = e
	}
	return out, nil
}

// Bounds of what functions make, far above what any property takes: a short
// template could otherwise multiply texts without end. All functions and
// references of a template make maxTotal bytes together.
const (
	maxText  = 128 << 10
	maxList  = 8192
	maxTotal = 8 << 20
	listCost = 16 // what an element of a list counts as, in bytes
)

// bounded refuses a text or list that is too long.
func bounded(size, most int) error {
	if size > most {
		return account.NotModelled("Template error: functions that make texts of more than %d bytes or lists of more than %d elements are not modelled by the sandbox", maxText, maxList)
	}
	return nil
}

// Scalar is a value as text, and whether it is one.
func Scalar(v any) (string, bool) {
	switch v.(type) {
	case string, bool, int, float64:
		return facts.Text(v), true
	}
	return "", false
}

var subVariable = regexp.MustCompile(`\$\{([^}]*)\}`)

// sub is Fn::Sub: literals and values in turn, literals first. Each value is
// there once however often the text names it, so that nested ones cost what
// they are long, not what they come to multiplied.
type sub struct {
	text   []string
	order  []int // of values
	values []Expr
}

func compileSub(arg any, place string) (Expr, error) {
	malformed := invalid("Template error: One or more Fn::Sub intrinsic functions don't specify expected arguments. Specify a string as first argument, and an optional second argument to specify a mapping of values to replace in the string")
	text, ok := arg.(string)
	vars := map[string]any{}
	if l, isList := arg.([]any); isList && len(l) == 2 {
		text, ok = l[0].(string)
		if vars, isList = l[1].(map[string]any); !isList {
			return nil, malformed
		}
	}
	if !ok {
		return nil, malformed
	}
	var out sub
	at := 0
	literalText := ""
	known := map[string]int{}
	for _, m := range subVariable.FindAllStringSubmatchIndex(text, -1) {
		name := text[m[2]:m[3]]
		literalText += text[at:m[0]]
		at = m[1]
		if rest, ok := strings.CutPrefix(name, "!"); ok {
			literalText += "${" + rest + "}"
			continue
		}
		name = strings.TrimSpace(name)
		out.text = append(out.text, literalText)
		literalText = ""
		if i, ok := known[name]; ok {
			out.order = append(out.order, i)
			continue
		}
		var e Expr
		if v, ok := vars[name]; ok {
			var err error
			if e, err = Compile(v, place); err != nil {
				return nil, err
			}
		} else if !variableName(name) {
			return nil, invalid("Template error: variable names in Fn::Sub syntax must contain only alphanumeric characters, underscores, periods, and colons")
		} else if id, a, ok := strings.Cut(name, "."); ok {
			e = attr{id, a}
		} else {
			e = ref{name}
		}
		known[name] = len(out.values)
		out.order = append(out.order, len(out.values))
		out.values = append(out.values, e)
	}
	literalText += text[at:]
	if len(out.values) == 0 {
		return literal{literalText}, nil
	}
	out.text = append(out.text, literalText)
	return out, nil
}

func variableName(s string) bool {
	for _, c := range s {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '_', c == '.', c == ':':
		default:
			return false
		}
	}
	return s != ""
}

func (e sub) Eval(s *Scope) (any, error) {
	texts := make([]string, len(e.values))
	unknown := false
	for i, x := range e.values {
		v, err := x.Eval(s)
		if err != nil {
			return nil, err
		}
		if Unknown(v) {
			unknown = true
			continue
		}
		t, ok := Scalar(v)
		if l, isList := v.([]any); isList && len(l) == 0 {
			t, ok = "", true
		}
		if !ok {
			return nil, invalid("Template error: variable in Fn::Sub expression does not resolve to a string")
		}
		texts[i] = t
	}
	size := len(e.text[len(e.order)])
	for i, v := range e.order {
		size += len(e.text[i]) + len(texts[v])
	}
	if err := bounded(size, maxText); err != nil {
		return nil, err
	}
	if unknown {
		return facts.Unknown{}, nil
	}
	var b strings.Builder
	b.Grow(size)
	for i, v := range e.order {
		b.WriteString(e.text[i])
		b.WriteString(texts[v])
	}
	b.WriteString(e.text[len(e.order)])
	return b.String(), s.spend(size)
}

func (e sub) Walk(s *Scope, visit func(Ref)) {
	for _, x := range e.values {
		x.Walk(s, visit)
	}
}

func compileJoin(arg any, place string) (Expr, error) {
	malformed := invalid("Template error: every Fn::Join object requires two parameters, (1) a string delimiter and (2) a list of strings to be joined or a function that returns a list of strings (such as Fn::GetAZs) to be joined.")
	args, err := arguments(arg, place, 2, 2, malformed)
	if err != nil {
		return nil, err
	}
	return call{args, func(_ *Scope, args []any) (any, error) {
		sep, ok := args[0].(string)
		parts, isList := args[1].([]any)
		if !ok || !isList {
			return nil, malformed
		}
		texts := make([]string, len(parts))
		size := len(sep) * len(parts)
		for i, p := range parts {
			if texts[i], ok = Scalar(p); !ok {
				return nil, malformed
			}
			size += len(texts[i])
		}
		if err := bounded(size, maxText); err != nil {
			return nil, err
		}
		return strings.Join(texts, sep), nil
	}}, nil
}

// choose is Fn::Select, which leaves what it doesn't select unevaluated where
// it can, so that unknown neighbours don't matter.
type choose struct{ index, from Expr }

func compileSelect(arg any, place string) (Expr, error) {
	args, err := arguments(arg, place, 2, 2, invalid("Template error: Fn::Select requires a list argument with two elements: an integer index and a list"))
	if err != nil {
		return nil, err
	}
	return choose{args[0], args[1]}, nil
}

func (e choose) Eval(s *Scope) (any, error) {
	i, err := e.index.Eval(s)
	if err != nil {
		return nil, err
	}
	from, err := e.from.Eval(s)
	if err != nil {
		return nil, err
	}
	if Unknown(i) {
		return facts.Unknown{}, nil
	}
	if _, ok := from.(facts.Unknown); ok {
		return from, nil
	}
	t, _ := Scalar(i)
	n, err := strconv.Atoi(t)
	l, ok := from.([]any)
	if err != nil || !ok {
		return nil, invalid("Template error: Fn::Select requires a list argument with two elements: an integer index and a list")
	}
	if n < 0 || n >= len(l) {
		return nil, invalid("Template error: Fn::Select cannot select nonexistent value at index %d", n)
	}
	return l[n], nil
}

func (e choose) Walk(s *Scope, visit func(Ref)) {
	e.index.Walk(s, visit)
	e.from.Walk(s, visit)
}

func compileSplit(arg any, place string) (Expr, error) {
	malformed := invalid("Template error: every Fn::Split object requires two parameters, (1) a string delimiter and (2) a string to be split or a function that returns a string to be split.")
	args, err := arguments(arg, place, 2, 2, malformed)
	if err != nil {
		return nil, err
	}
	return call{args, func(_ *Scope, args []any) (any, error) {
		sep, ok := args[0].(string)
		text, isText := Scalar(args[1])
		if !ok || sep == "" || !isText {
			return nil, malformed
		}
		if err := bounded(strings.Count(text, sep), maxList-1); err != nil {
			return nil, err
		}
		var out []any
		for _, p := range strings.Split(text, sep) {
			out = append(out, p)
		}
		return out, nil
	}}, nil
}

func compileFindInMap(arg any, place string) (Expr, error) {
	malformed := invalid("Template error: every Fn::FindInMap object requires three parameters, the map name, map key and the attribute for return value")
	if l, ok := arg.([]any); ok && len(l) == 4 {
		return nil, account.NotModelled("Template error: DefaultValue of Fn::FindInMap needs the transform AWS::LanguageExtensions, which is not modelled by the sandbox")
	}
	args, err := arguments(arg, place, 3, 3, malformed)
	if err != nil {
		return nil, err
	}
	return call{args, func(s *Scope, args []any) (any, error) {
		var name [3]string
		for i, a := range args {
			t, ok := Scalar(a)
			if !ok {
				return nil, malformed
			}
			name[i] = t
		}
		m, ok := s.Mappings[name[0]]
		if !ok {
			return nil, invalid("Template error: Mapping named '%s' is not present in the 'Mappings' section of template.", name[0])
		}
		v, ok := m[name[1]][name[2]]
		if !ok {
			return nil, invalid("Template error: Unable to get mapping for %s::%s::%s", name[0], name[1], name[2])
		}
		return v, nil
	}}, nil
}

func compileGetAZs(arg any, place string) (Expr, error) {
	if arg == "" {
		arg = map[string]any{"Ref": "AWS::Region"}
	}
	e, err := Compile(arg, place)
	if err != nil {
		return nil, err
	}
	return call{[]Expr{e}, func(s *Scope, args []any) (any, error) {
		region, ok := args[0].(string)
		if !ok {
			return nil, invalid("Template error: Fn::GetAZs requires a string argument")
		}
		if region == "" {
			region = s.Pseudo.Region
		}
		if region != s.Pseudo.Region {
			return nil, account.NotModelled("Template error: Fn::GetAZs is modelled for %s only, not %s", s.Pseudo.Region, region)
		}
		out := make([]any, len(s.Zones))
		for i, z := range s.Zones {
			out[i] = z
		}
		return out, nil
	}}, nil
}

func compileBase64(arg any, place string) (Expr, error) {
	e, err := Compile(arg, place)
	if err != nil {
		return nil, err
	}
	return call{[]Expr{e}, func(_ *Scope, args []any) (any, error) {
		t, ok := Scalar(args[0])
		if !ok {
			return nil, invalid("Template error: every Fn::Base64 object must have a String-typed value.")
		}
		if err := bounded(base64.StdEncoding.EncodedLen(len(t)), maxText); err != nil {
			return nil, err
		}
		return base64.StdEncoding.EncodeToString([]byte(t)), nil
	}}, nil
}

func compileCidr(arg any, place string) (Expr, error) {
	malformed := invalid("Template error: every Fn::Cidr object requires two or three parameters, (1) a CIDR block, (2) the number of CIDRs and (3) the number of subnet bits")
	args, err := arguments(arg, place, 2, 3, malformed)
	if err != nil {
		return nil, err
	}
	return call{args, func(_ *Scope, args []any) (any, error) {
		block, _ := Scalar(args[0])
		countText, _ := Scalar(args[1])
		bits := 8
		count, err := strconv.Atoi(countText)
		if err != nil {
			return nil, malformed
		}
		if len(args) == 3 {
			t, _ := Scalar(args[2])
			if bits, err = strconv.Atoi(t); err != nil {
				return nil, malformed
			}
		}
		return cidrs(block, count, bits)
	}}, nil
}

// cidrs are the first count blocks with the given number of host bits.
func cidrs(block string, count, bits int) (any, error) {
	p, err := netip.ParsePrefix(block)
	if err != nil {
		return nil, invalid("Template error: %s is not a valid CIDR block", block)
	}
	if !p.Addr().Is4() {
		return nil, account.NotModelled("Template error: Fn::Cidr is modelled for IPv4 only, not %s", block)
	}
	if count < 1 || count > 256 || bits < 1 || bits > 32-p.Bits() {
		return nil, invalid("Template error: Fn::Cidr can't divide %s into %d blocks of %d bits", block, count, bits)
	}
	if room := 32 - p.Bits() - bits; room < 9 && count > 1<<room {
		return nil, invalid("Template error: Fn::Cidr can't divide %s into %d blocks of %d bits", block, count, bits)
	}
	b := p.Masked().Addr().As4()
	base := uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])
	out := make([]any, count)
	for i := range count {
		n := base + uint32(i)<<bits
		out[i] = netip.PrefixFrom(netip.AddrFrom4([4]byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)}), 32-bits).String()
	}
	return out, nil
}

// branch is Fn::If.
type branch struct {
	condition string
	yes, no   Expr
}

func compileIf(arg any, place string) (Expr, error) {
	l, ok := arg.([]any)
	if !ok || len(l) != 3 {
		return nil, invalid("Template error: Fn::If requires a list argument with three elements")
	}
	name, ok := l[0].(string)
	if !ok {
		return nil, invalid("Template error: Fn::If requires a list argument with the first element being a condition")
	}
	yes, err := Compile(l[1], place)
	if err != nil {
		return nil, err
	}
	no, err := Compile(l[2], place)
	if err != nil {
		return nil, err
	}
	return branch{name, yes, no}, nil
}

func (e branch) Eval(s *Scope) (any, error) {
	if s.True(e.condition) {
		return e.yes.Eval(s)
	}
	return e.no.Eval(s)
}

func (e branch) Walk(s *Scope, visit func(Ref)) {
	if s == nil || s.True(e.condition) {
		e.yes.Walk(s, visit)
	}
	if s == nil || !s.True(e.condition) {
		e.no.Walk(s, visit)
	}
}

// importValue is Fn::ImportValue.
type importValue struct{ name Expr }

func compileImport(arg any, place string) (Expr, error) {
	e, err := Compile(arg, place)
	if err != nil {
		return nil, err
	}
	return importValue{e}, nil
}

func (e importValue) Eval(s *Scope) (any, error) {
	v, err := e.name.Eval(s)
	if err != nil {
		return nil, err
	}
	name, ok := v.(string)
	if !ok {
		return nil, invalid("Template error: the attribute in Fn::ImportValue must not depend on any resources, imported values, or Fn::GetAZs")
	}
	if s.Import == nil {
		return facts.Unknown{}, nil
	}
	out, ok := s.Import(name)
	if !ok {
		return nil, invalid("No export named %s found", name)
	}
	return out, nil
}

func (e importValue) Walk(s *Scope, visit func(Ref)) {
	e.name.Walk(s, visit)
}

// JSON writes a value as CloudFormation shows properties.
func JSON(v any) string {
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(shown(v)); err != nil {
		// Values are plain JSON by construction.
		return ""
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// shown replaces what is unknown by CloudFormation's word for it.
func shown(v any) any {
	switch v := v.(type) {
	case facts.Unknown:
		return "{{changeSet:KNOWN_AFTER_APPLY}}"
	case map[string]any:
		m := make(map[string]any, len(v))
		for k, x := range v {
			m[k] = shown(x)
		}
		return m
	case []any:
		l := make([]any, len(v))
		for i, x := range v {
			l[i] = shown(x)
		}
		return l
	}
	return v
}
