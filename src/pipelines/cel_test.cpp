#include "pipelines/cel.h"

#include <gtest/gtest.h>

#include "json/parse.h"

namespace mr::pipelines {
namespace {

Value js(std::string_view text) { return json::parse(text).value(); }

const Object& variables() {
  static const Object v = condition_variables(
      js(R"({"s": "foo", "n": 1, "d": 2.5, "t": true, "f": false, "e": "", "l": [1, 2, "x"], "m": {"a": {"b": 7}, "k.x": null}, "z": null,
             "big": 9007199254740993, "pipelinechannel--flip-Output": "heads", "num": "12"})")
          .get_object(),
      js(R"({"model": {"artifacts": [{"name": "model", "type": {"schemaTitle": "system.Model"}, "uri": "gs://b/k", "customPath": "/p",
             "metadata": {"accuracy": 0.95, "customPath": 1}}]}, "none": {"artifacts": []}})")
          .get_object());
  return v;
}

// The value as JSON, or "! message".
std::string eval(std::string_view text, const Object& with = variables()) {
  auto e = Expression::parse(text);
  if (!e) return "! " + e.error().message;
  auto v = e->evaluate(with);
  if (!v) {
    EXPECT_EQ(v.error().code, Code::invalid_argument);
    return "! " + v.error().message;
  }
  return json::serialize(*v);
}

TEST(Cel, Values) {
  const std::pair<std::string_view, std::string_view> cases[] = {
      // literals
      {"1", "1"},
      {"-1", "-1"},
      {"0x1F", "31"},
      {"-0x10", "-16"},
      {"5u", "5"},
      {"0xFFu", "255"},
      {"18446744073709551615u", "18446744073709551615"},
      {"9223372036854775807", "9223372036854775807"},
      {"-9223372036854775808", "-9223372036854775808"},
      {"1.5", "1.5"},
      {".5", "0.5"},
      {"-.5", "-0.5"},
      {"1e3", "1000"},
      {"1.5E-1", "0.15"},
      {"2.0", "2"},
      {"true", "true"},
      {"null", "null"},
      {"'a'", R"("a")"},
      {R"("a'b")", R"("a'b")"},
      {R"('\n\t\\\'\"\x41\u00e9\U0001F642\101\`\?')", R"("\n\t\\'\"Aé🙂A`?")"},
      {R"(r'\n')", R"("\\n")"},
      {"'''a'b\nc'''", R"("a'b\nc")"},
      {R"("""x""")", R"("x")"},
      {"''", R"("")"},
      {"[1, 'a', [2.0], null,]", R"([1,"a",[2],null])"},
      {"[]", "[]"},
      {"{'a': 1, \"b\": [true]}", R"({"a":1,"b":[true]})"},
      {"{'a': 1,}", R"({"a":1})"},
      {"{}", "{}"},
      {"1 // a comment", "1"},
      {"// first\n 2", "2"},
      // arithmetic
      {"1 + 2 * 3", "7"},
      {"(1 + 2) * 3", "9"},
      {"10 - 2 - 3", "5"},
      {"7 / 2", "3"},
      {"-7 / 2", "-3"},
      {"-7 % 3", "-1"},
      {"7.0 / 2.0", "3.5"},
      {"'a' + 'b' + 'c'", R"("abc")"},
      {"[1] + [2, 3]", "[1,2,3]"},
      {"5u - 3u", "2"},
      {"-(2)", "-2"},
      {"--2", "2"},
      {"---2", "-2"},
      {"- 2", "-2"},
      {"3-1", "2"},
      {"3 -1", "2"},
      {"-inputs.parameter_values['d']", "-2.5"},
      // comparison
      {"1 == 1.0", "true"},
      {"1u == 1", "true"},
      {"1u == 1.0", "true"},
      {"1 < 1.5", "true"},
      {"2u > 1", "true"},
      {"1.5 >= 2u", "false"},
      {"-1 < 0u", "true"},
      {"0u > -1", "true"},
      {"9007199254740993 == 9007199254740992.0", "false"},
      {"9007199254740993 > 9007199254740992.0", "true"},
      {"9007199254740992.0 < 9007199254740993", "true"},
      {"1 == '1'", "false"},
      {"1 != '1'", "true"},
      {"null == null", "true"},
      {"null == 0", "false"},
      {"true == 1", "false"},
      {"'a' < 'b'", "true"},
      {"'Z' < 'a'", "true"},
      {"false < true", "true"},
      {"[1, 2] == [1.0, 2u]", "true"},
      {"[1] == [1, 2]", "false"},
      {"{'a': 1} == {'a': 1.0}", "true"},
      {"{'a': 1} == {'b': 1}", "false"},
      {"0.0 / 0.0 == 0.0 / 0.0", "false"},
      {"0.0 / 0.0 != 0.0 / 0.0", "true"},
      {"1 < 2 == true", "true"},
      // logic
      {"true && false", "false"},
      {"true || false", "true"},
      {"!true", "false"},
      {"!!true", "true"},
      {"!!!true", "false"},
      {"false && 1 / 0 == 1", "false"},
      {"1 / 0 == 1 && false", "false"},
      {"1 / 0 == 1 || true", "true"},
      {"true || 'x'", "true"},
      {"'x' || true", "true"},
      {"true ? 1 : 1 / 0", "1"},
      {"false ? 1 : true ? 2 : 3", "2"},
      {"1 == 1 && 2 == 2 || false", "true"},
      {"false || true && false", "false"},
      // in, index, field
      {"1 in [1.0]", "true"},
      {"3 in [1, 2]", "false"},
      {"'a' in {'a': 1}", "true"},
      {"'b' in {'a': 1}", "false"},
      {"1 in {'a': 1}", "false"},
      {"'n' in inputs.parameter_values", "true"},
      {"'nope' in inputs.parameter_values", "false"},
      {"'x' in inputs.parameter_values['l']", "true"},
      {"[1, 2][1]", "2"},
      {"[1, 2][1.0]", "2"},
      {"[1, 2][1u]", "2"},
      {"{'a': {'b': 3}}.a.b", "3"},
      {"{'a': 1}['a'] + 1", "2"},
      // functions
      {"size('é🙂')", "2"},
      {"'abc'.size()", "3"},
      {"size([1, 2])", "2"},
      {"size({'a': 1})", "1"},
      {"int(2.9)", "2"},
      {"int(-2.9)", "-2"},
      {"int('42')", "42"},
      {"int('+42')", "42"},
      {"int(5u)", "5"},
      {"uint(5)", "5"},
      {"uint('7')", "7"},
      {"double(3)", "3"},
      {"double('2.5')", "2.5"},
      {"double(3) / 2.0", "1.5"},
      {"string(3)", R"("3")"},
      {"string(2.5)", R"("2.5")"},
      {"string(true)", R"("true")"},
      {"string('x')", R"("x")"},
      {"bool('True')", "true"},
      {"bool('0')", "false"},
      {"bool(true)", "true"},
      {"dyn(1) == 1", "true"},
      {"'hello'.startsWith('he')", "true"},
      {"'hello'.endsWith('lo')", "true"},
      {"'hello'.contains('ell')", "true"},
      {"'hello'.matches('^h.*o$')", "true"},
      {"matches('hello', 'l+')", "true"},
      {"'hello'.matches('^l')", "false"},
      {"parseJson('{\"a\": [1, {\"b\": 2}]}').a[1]['b']", "2"},
      {"parseJson('[1.5]')[0]", "1.5"},
      {"parseJson('7')", "7"},
      {"parseJson('\"x\"') + 'y'", R"("xy")"},
      {"has(inputs.parameter_values.s)", "true"},
      {"has(inputs.parameter_values.nope)", "false"},
      {"has({'a': 1}.a)", "true"},
      {"has('a'.b)", "false"},
      {".inputs.parameter_values['s']", R"("foo")"},
  };
  for (const auto& [text, want] : cases) EXPECT_EQ(eval(text), want) << text;
}

TEST(Cel, Inputs) {
  const std::pair<std::string_view, std::string_view> cases[] = {
      {"inputs.parameter_values['s'] == 'foo'", "true"},
      {"inputs.parameter_values['n'] == 1", "true"},
      {"inputs.parameter_values['n'] == 1.0", "true"},
      {"int(inputs.parameter_values['n']) == 1", "true"},
      {"int(inputs.parameter_values['num']) > 9", "true"},
      {"inputs.parameter_values['t'] == true", "true"},
      {"inputs.parameter_values['t']", "true"},
      {"inputs.parameter_values['z'] == null", "true"},
      {"inputs.parameter_values['e'] == ''", "true"},
      {"inputs.parameter_values['m'].a.b", "7"},
      {"inputs.parameter_values['m']['k.x']", "null"},
      {"inputs.parameter_values['l'][2]", R"("x")"},
      {"inputs.parameter_values['l'][inputs.parameter_values['n']]", "2"},
      {"inputs.parameter_values['pipelinechannel--flip-Output'] == 'heads' && !(inputs.parameter_values['n'] == 2)",
       "true"},
      // Numbers of JSON are doubles, whatever they look like: so it is in the original.
      {"inputs.parameter_values['n'] / 2.0", "0.5"},
      {"inputs.parameter_values['n'] + 1", "! no such overload"},
      {"int(inputs.parameter_values['n']) + 1", "2"},
      {"inputs.parameter_values['big'] == 9007199254740993", "true"},
      {"[inputs.parameter_values['l']][0][0] * 1.5", "1.5"},
      // the old form
      {"inputs.parameters['s'].string_value == 'foo'", "true"},
      {"inputs.parameters['n'].int_value + 1", "2"},
      {"inputs.parameters['d'].double_value", "2.5"},
      {"inputs.parameters['t'].string_value", R"("true")"},
      {"inputs.parameters['l'].string_value", R"("[1,2,\"x\"]")"},
      {"inputs.parameters['z'].string_value", "! no such key: z"},
      // artifacts
      {"inputs.artifacts['model'].artifacts[0].metadata['accuracy']*100.0 > 90.0", "true"},
      {"inputs.artifacts['model'].artifacts[0].uri", R"("gs://b/k")"},
      {"inputs.artifacts['model'].artifacts[0].type.schema_title", R"("system.Model")"},
      {"inputs.artifacts['model'].artifacts[0].custom_path", R"("/p")"},
      {"inputs.artifacts['model'].artifacts[0].metadata.customPath", "1"},
      {"size(inputs.artifacts['none'].artifacts)", "0"},
      {"inputs.artifacts['nope']", "! no such key: nope"},
      {"inputs.artifacts['none'].artifacts[0]", "! index out of bounds: 0"},
  };
  for (const auto& [text, want] : cases) EXPECT_EQ(eval(text), want) << text;
}

TEST(Cel, Failures) {
  const std::pair<std::string_view, std::string_view> cases[] = {
      {"inputs.parameter_values['type']=='foo'", "! no such key: type"},
      {"inputs.foo", "! no such key: foo"},
      {"nope", "! undeclared reference to 'nope' (in container '')"},
      {"false && nope", "! undeclared reference to 'nope' (in container '')"},
      {"outputs", "! no such attribute(s): outputs"},
      {"1 + 'a'", "! no such overload"},
      {"1 + 1.0", "! no such overload"},
      {"1 + 1u", "! no such overload"},
      {"1.5 % 2.0", "! no such overload"},
      {"'a' - 'b'", "! no such overload"},
      {"'a' < 1", "! no such overload"},
      {"null < null", "! no such overload"},
      {"[1] < [2]", "! no such overload"},
      {"1 && true", "! no such overload"},
      {"true && 1", "! no such overload"},
      {"1 ? 2 : 3", "! no such overload"},
      {"!1", "! no such overload"},
      {"!!1", "! no such overload"},
      {"-'a'", "! no such overload"},
      {"-5u", "! Syntax error at position 1: invalid uint literal"},
      {"-(5u)", "! no such overload"},
      {"'a'.b", "! no such key: b"},
      {"'a'[0]", "! no such key: 0"},
      {"'a'['b']", "! no such key: b"},
      {"(1)[null]", "! no such overload"},
      {"1 in 2", "! no such overload"},

      {"size(1)", "! no such overload"},
      {"1.startsWith('a')", "! no such overload"},
      {"1.5abc", "! Syntax error at position 1: a number and a name run together"},
      {"(1).startsWith('a')", "! no such overload"},
      {"'a'.startsWith(1)", "! no such overload"},
      {"1 / 0", "! division by zero"},
      {"1 % 0", "! modulus by zero"},
      {"1u / 0u", "! division by zero"},
      {"9223372036854775807 + 1", "! integer overflow"},
      {"-9223372036854775808 - 1", "! integer overflow"},
      {"4611686018427387904 * 2", "! integer overflow"},
      {"-9223372036854775808 / -1", "! integer overflow"},
      {"-9223372036854775808 % -1", "! integer overflow"},
      {"-(-9223372036854775808)", "! integer overflow"},
      {"1u - 2u", "! unsigned integer overflow"},
      {"18446744073709551615u + 1u", "! unsigned integer overflow"},
      {"int(1e300)", "! integer overflow"},
      {"int(0.0 / 0.0)", "! integer overflow"},
      {"int(18446744073709551615u)", "! integer overflow"},
      {"uint(-1)", "! unsigned integer overflow"},
      {"int('x')", "! type conversion error from 'string' to 'int'"},
      {"int('1.0')", "! type conversion error from 'string' to 'int'"},
      {"int(' 1')", "! type conversion error from 'string' to 'int'"},
      {"int(true)", "! no such overload: int(bool)"},
      {"int(null)", "! no such overload: int(null_type)"},
      {"double('x')", "! type conversion error from 'string' to 'double'"},
      {"bool('yes')", "! type conversion error from 'string' to 'bool'"},
      {"bool(1)", "! no such overload: bool(int)"},
      {"string([1])", "! no such overload: string(list)"},
      {"[1][1]", "! index out of bounds: 1"},
      {"[1][-1]", "! index out of bounds: -1"},
      {"[1][0.5]", "! unsupported index value 0.5 in list"},
      {"[1]['a']", "! unsupported index type 'string' in list"},
      {"[1].a", "! unsupported index type 'string' in list"},
      {"has([1].a)", "! unsupported index type 'string' in list"},
      {"[1][9223372036854775807]", "! index out of bounds: 9223372036854775807"},
      {"{'a': 1}[1]", "! no such key: 1"},
      {"{1: 2}", "! unsupported key type: int"},
      {"{'a': 1, 'a': 2}", "! Failed with repeated key"},
      {"parseJson(1)", "! no such overload"},
      {"'a'.matches('(')", "! error parsing regexp: missing ): ("},
      // how it is written
      {"", "! Syntax error at position 1: expected an operand, found the end"},
      {"1 +", "! Syntax error at position 4: expected an operand, found the end"},
      {"1 2", "! Syntax error at position 3: expected an operator or the end, found '2'"},
      {"(1", "! Syntax error at position 3: expected ')', found the end"},
      {"[1", "! Syntax error at position 3: expected ',' or ']', found the end"},
      {"[1 2]", "! Syntax error at position 4: expected ',' or ']', found '2'"},
      {"{'a' 1}", "! Syntax error at position 6: expected ':', found '1'"},
      {"true ? 1", "! Syntax error at position 9: expected ':', found the end"},
      {"a.", "! Syntax error at position 3: expected the name of a field, found the end"},
      {"a.1", "! Syntax error at position 3: expected the name of a field, found '1'"},
      {"a = b", "! Syntax error at position 3: expected an operator or the end, found '='"},
      {"a & b", "! Syntax error at position 3: expected an operator or the end, found '&'"},
      {"é", "! Syntax error at position 1: expected an operand, found 'é'"},
      {"'abc", "! Syntax error at position 1: a text without its closing quote"},
      {"'a\nb'", "! Syntax error at position 1: a text without its closing quote"},
      {R"('\q')", "! Syntax error at position 2: invalid escape in a text"},
      {R"('\x4')", "! Syntax error at position 2: invalid escape in a text"},
      {R"('\uD800')", "! Syntax error at position 2: invalid escape in a text"},
      {R"('\)", "! Syntax error at position 2: invalid escape in a text"},
      {"b'a'", "! Syntax error at position 1: literals of bytes are not supported"},
      {"9223372036854775808", "! Syntax error at position 1: invalid int literal"},
      {"0x", "! Syntax error at position 1: invalid number"},
      {"12abc", "! Syntax error at position 1: invalid number"},
      {"1e", "! Syntax error at position 1: a number without digits in its exponent"},
      {"1e999", "! Syntax error at position 1: invalid double literal"},
      {"if", "! Syntax error at position 1: reserved identifier: if"},
      {"foo(1)", "! Syntax error at position 1: undeclared reference to 'foo' (in container '')"},
      {"'a'.foo()", "! Syntax error at position 5: undeclared reference to 'foo' (in container '')"},
      {"startsWith('a', 'b')", "! Syntax error at position 1: undeclared reference to 'startsWith' (in container '')"},
      {"size()", "! Syntax error at position 1: found no matching overload for 'size': it takes 1 argument, not 0"},
      {"'a'.contains()",
       "! Syntax error at position 5: found no matching overload for 'contains': it takes 1 argument, not 0"},
      {"[1].all(x, x > 0)", "! Syntax error at position 5: the macro 'all' is not supported"},
      {"[1].exists(x, x > 0)", "! Syntax error at position 5: the macro 'exists' is not supported"},
      {"[1].map(x, x)", "! Syntax error at position 5: the macro 'map' is not supported"},
      {"[1].filter(x, x > 0)", "! Syntax error at position 5: the macro 'filter' is not supported"},
      {"type(1)", "! Syntax error at position 1: the function 'type' is not supported"},
      {"timestamp('x')", "! Syntax error at position 1: the function 'timestamp' is not supported"},
      {"has(a)", "! Syntax error at position 1: invalid argument to has() macro"},
      {"has(a['b'])", "! Syntax error at position 1: invalid argument to has() macro"},
  };
  for (const auto& [text, want] : cases) EXPECT_EQ(eval(text), want) << text;
  EXPECT_TRUE(eval("parseJson('{')").starts_with("! failed to unmarshal JSON: "));
}

TEST(Cel, Conditions) {
  auto holds = [](std::string_view text) { return Expression::parse(text).value().holds(variables()); };
  EXPECT_TRUE(holds("inputs.parameter_values['n'] == 1").value());
  EXPECT_FALSE(holds("inputs.parameter_values['n'] == 2").value());
  EXPECT_EQ(holds("inputs.parameter_values['s']").error().message, "return type is not bool, got foo");
  EXPECT_EQ(holds("1").error().message, "return type is not bool, got 1");
  EXPECT_EQ(holds("inputs.parameter_values['q']").error().message, "no such key: q");
}

TEST(Cel, Selectors) {
  struct {
    std::string_view value, text, want;
  } const cases[] = {
      {R"("Hello,World!")", "string_value", R"("Hello,World!")"},
      {R"("[1.1,1.2,1.3]")", "parseJson(string_value)[0]", "1.1"},
      {R"("{\"A_a\": \"1\", \"B\": 2}")", R"(parseJson(string_value)["A_a"])", R"("1")"},
      {R"({"A_a": {"x": [3]}})", R"(parseJson(string_value)["A_a"])", R"({"x":[3]})"},
      {"null", "string_value", R"("")"},
      {"null", "null_value", "null"},
      {R"("Hello")", "struct_value", "! no such attribute(s): struct_value"},
      {R"({"a": "A"})", "struct_value.a", R"("A")"},
      {R"({"a": "A"})", "struct_value.c", "! no such key: c"},
      {R"({"list": [1.0, 2]})", "struct_value.list", "[1,2]"},
      {"[1, 2]", "list_value[1]", "2"},
      {"[1, 2]", "string_value", R"("[1,2]")"},
      {"3.0", "string_value", R"("3")"},
      {"3", "number_value * 2.0", "6"},
      {"true", "bool_value", "true"},
      {"true", "false || nope", "! undeclared reference to 'nope' (in container '')"},
      {R"("x")", "inputs", "! undeclared reference to 'inputs' (in container '')"},
      {R"("not json")", "parseJson(string_value)['a']", "! failed"},
  };
  for (const auto& c : cases) {
    auto got = eval(c.text, selector_variables(js(c.value)));
    EXPECT_TRUE(c.want == "! failed" ? got.starts_with("! failed to unmarshal JSON") : got == c.want)
        << c.text << ": " << got;
  }
}

TEST(Cel, NamesOfInputs) {
  auto e = Expression::parse(
      "inputs.parameter_values['a'] == 'x' && (inputs.parameter_values['b'] > 1 || "
      "inputs['artifacts'].c.artifacts[0].uri == '') && "
      "inputs.parameters['d'].int_value == 1 && inputs.parameter_values['a'] == "
      "inputs.parameter_values[inputs.parameter_values['e']] && "
      "has(inputs.parameter_values.g) && other.parameter_values['h']");
  ASSERT_TRUE(e) << e.error().message;
  EXPECT_EQ(e->input_names(), (std::vector<std::string>{"a", "b", "c", "d", "e", "g"}));
  EXPECT_TRUE(e->text().starts_with("inputs.parameter_values['a']"));
}

std::string repeat(std::string_view s, std::size_t n) {
  std::string out;
  for (std::size_t i = 0; i < n; ++i) out += s;
  return out;
}

TEST(Cel, Bounds) {
  EXPECT_EQ(eval(repeat("(", 63) + "1" + repeat(")", 63)), "1");
  EXPECT_EQ(eval(repeat("(", 64) + "1" + repeat(")", 64)),
            "! Syntax error at position 65: nested more than 64 levels deep");
  EXPECT_TRUE(eval(repeat("[", 5000)).starts_with("! Syntax error"));
  EXPECT_TRUE(eval(repeat("true ? true : ", 4000) + "true").starts_with("! Syntax error"));
  // Width is not depth.
  EXPECT_EQ(eval("true" + repeat(" && true", 5000)), "true");
  EXPECT_EQ(eval("1" + repeat(" + 1", 5000)), "5001");
  EXPECT_EQ(eval(repeat("!", 5000) + "true"), "true");
  EXPECT_EQ(eval(repeat("-", 5001) + "1"), "-1");
  EXPECT_TRUE(eval(std::string(70000, ' ') + "1").starts_with("! an expression of 70001 bytes"));
  // Values that grow.
  std::string big(std::size_t{1} << 20, 'x');
  Object vars{{"x", big}};
  EXPECT_TRUE(eval("x" + repeat(" + x", 2000), vars).starts_with("! the expression is too much work"));
  EXPECT_TRUE(eval("[x" + repeat(", x", 2000) + "]", vars).starts_with("! the expression is too much work"));
  EXPECT_EQ(eval("size(x + x)", vars), "2097152");
}

}  // namespace
}  // namespace mr::pipelines
