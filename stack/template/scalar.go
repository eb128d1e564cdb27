package template

import (
	"encoding/json"
	"math/big"
	"regexp"
	"strconv"
	"strings"
)

// maxNumber is the length of the longest number. What is longer stays text.
const maxNumber = 128

// The types of YAML 1.1 that a value without quotes has by its look, as SnakeYAML
// tells them apart: y and n are texts to it, and any digits are a number.
// https://yaml.org/type/
var (
	isNull  = regexp.MustCompile(`^(?:~|null|Null|NULL|)$`)
	isTrue  = regexp.MustCompile(`^(?:yes|Yes|YES|true|True|TRUE|on|On|ON)$`)
	isFalse = regexp.MustCompile(`^(?:no|No|NO|false|False|FALSE|off|Off|OFF)$`)
	isInt   = regexp.MustCompile(`^[-+]?(?:0b[01_]+|0[0-7_]*|0x[0-9a-fA-F_]+|[1-9][0-9_]*)$`)
	isFloat = regexp.MustCompile(`^[-+]?(?:\.[0-9]+|[0-9][0-9_]*(?:\.[0-9_]*)?)(?:[eE][-+]?[0-9]+)?$`)
	isSixty = regexp.MustCompile(`^[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+(?:\.[0-9_]*)?$`) // 1:30 is 90
)

// scalar is what a value without quotes means.
func scalar(text string) any {
	switch {
	case isNull.MatchString(text):
		return nil
	case isTrue.MatchString(text):
		return true
	case isFalse.MatchString(text):
		return false
	}
	if n, ok := number(text); ok {
		return n
	}
	return text
}

// number is a text as a number, in the digits that it has where JSON has them too.
// What JSON or a double can't hold, such as .inf, is none.
func number(text string) (json.Number, bool) {
	if len(text) > maxNumber {
		return "", false
	}
	digits := strings.ReplaceAll(text, "_", "")
	switch {
	case isInt.MatchString(text):
		n, ok := new(big.Int).SetString(digits, 0)
		if !ok {
			return "", false
		}
		return json.Number(n.String()), true
	case isFloat.MatchString(text):
		f, err := strconv.ParseFloat(digits, 64)
		if err != nil {
			return "", false
		}
		if strings.ContainsAny(digits, ".eE") && json.Valid([]byte(digits)) {
			return json.Number(digits), true
		}
		return float(f), true
	case isSixty.MatchString(text) && (text[0] != '0' || strings.Contains(text, ".")):
		return sixty(digits)
	}
	return "", false
}

// sixty reads a number to the base of sixty.
func sixty(digits string) (json.Number, bool) {
	unsigned := strings.TrimLeft(digits, "+-")
	var sum float64
	for part := range strings.SplitSeq(unsigned, ":") {
		f, err := strconv.ParseFloat(part, 64)
		if err != nil {
			return "", false
		}
		sum = sum*60 + f
	}
	if digits[0] == '-' {
		sum = -sum
	}
	if !strings.Contains(digits, ".") {
		return json.Number(strconv.FormatFloat(sum, 'f', -1, 64)), true
	}
	return float(sum), true
}

// float is a double in JSON, which it is not without a point or an exponent.
func float(f float64) json.Number {
	s := strconv.FormatFloat(f, 'g', -1, 64)
	if !strings.ContainsAny(s, ".e") {
		s += ".0"
	}
	return json.Number(s)
}
