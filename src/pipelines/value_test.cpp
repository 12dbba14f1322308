#include "pipelines/value.h"

#include <gtest/gtest.h>

#include <limits>

#include "json/parse.h"

namespace mr::pipelines {
namespace {

Value js(std::string_view text) { return json::parse(text).value(); }

TEST(ParameterTypes, Names) {
  for (auto t :
       {ParameterType::string, ParameterType::integer, ParameterType::number, ParameterType::boolean,
        ParameterType::list, ParameterType::structure, ParameterType::task_final_status, ParameterType::task_config})
    EXPECT_EQ(parse_parameter_type(type_name(t)).value(), t);
  EXPECT_EQ(parse_parameter_type("INT").value(), ParameterType::integer);
  EXPECT_EQ(parse_parameter_type("DOUBLE").value(), ParameterType::number);
  auto e = parse_parameter_type("string");
  ASSERT_FALSE(e);
  EXPECT_EQ(e.error().message,
            "parameter type \"string\" is not known; it must be one of STRING, NUMBER_INTEGER, NUMBER_DOUBLE, BOOLEAN, "
            "LIST, STRUCT, "
            "TASK_FINAL_STATUS, TASK_CONFIG");
  EXPECT_FALSE(parse_parameter_type(""));
}

TEST(ParameterText, NumbersNeverHaveAnExponentOrAPointZero) {
  const std::pair<double, std::string_view> cases[] = {
      {0, "0"},
      {-0.0, "0"},
      {1, "1"},
      {-3, "-3"},
      {3.5, "3.5"},
      {0.1, "0.1"},
      {100, "100"},
      {1e6, "1000000"},
      {1e21, "1000000000000000000000"},
      {1e23, "100000000000000000000000"},
      {-2.5e22, "-25000000000000000000000"},
      {1e-7, "0.0000001"},
      {1.5e-10, "0.00000000015"},
      {123456.789, "123456.789"},
      {9007199254740993.0, "9007199254740992"},
      {0.30000000000000004, "0.30000000000000004"},
      {5e-324, std::string_view()},
  };
  for (const auto& [d, want] : cases) {
    const auto got = to_text(Value(d));
    if (want.empty())
      EXPECT_EQ(got, "0." + std::string(323, '0') + "5");
    else
      EXPECT_EQ(got, want);
    EXPECT_EQ(got.find('e'), std::string::npos);
  }
  EXPECT_EQ(to_text(Value(std::numeric_limits<double>::max())).size(), 309u);
  EXPECT_EQ(to_text(Value(std::numeric_limits<double>::infinity())), "+Inf");
}

TEST(ParameterText, OfEveryKind) {
  const std::pair<std::string_view, std::string_view> cases[] = {
      {R"("a \"b\"\n")", "a \"b\"\n"},
      {R"("")", ""},
      {"null", ""},
      {"true", "true"},
      {"false", "false"},
      {"9223372036854775807", "9223372036854775807"},
      {"18446744073709551615", "18446744073709551615"},
      {"[]", "[]"},
      {"{}", "{}"},
      {R"([1.0, 2.5, [3.0], {"a": 4.0}, "x", null, true])", R"([1,2.5,[3],{"a":4},"x",null,true])"},
      {R"({"a": {"b": [1.0]}, "c": "d\n"})", R"({"a":{"b":[1]},"c":"d\n"})"},
      {"[1e20, 1e21, 1e-6, 1e-7]", "[100000000000000000000,1e+21,0.000001,1e-07]"},
      {R"(["ünï 🙂"])", R"(["ünï 🙂"])"},
  };
  for (const auto& [in, want] : cases) EXPECT_EQ(to_text(js(in)), want) << in;
  EXPECT_EQ(compact_json(js(R"({"a": 1.0, "b": []})").get_object()), R"({"a":1,"b":[]})");
}

TEST(ParameterText, Normalize) {
  EXPECT_TRUE(normalize(Value(3.0)).is_int64());
  EXPECT_TRUE(normalize(Value(-0.0)).is_int64());
  EXPECT_TRUE(normalize(Value(3.5)).is_double());
  EXPECT_TRUE(normalize(Value(1e19)).is_double());
  EXPECT_TRUE(normalize(Value(std::uint64_t{7})).is_int64());
  EXPECT_TRUE(normalize(Value(UINT64_MAX)).is_uint64());
  EXPECT_EQ(json::serialize(normalize(js(R"({"a":[1.0,{"b":2.0}],"c":0.5})"))), R"({"a":[1,{"b":2}],"c":0.5})");
  EXPECT_EQ(normalize(Value(-9223372036854775808.0)).get_int64(), INT64_MIN);
  EXPECT_TRUE(normalize(Value(9223372036854775808.0)).is_double());
}

struct Conversion {
  std::string_view in;
  ParameterType want;
  std::string_view out;    // as JSON
  std::string_view error;  // when it fails
};
TEST(ParameterConversion, Table) {
  using T = ParameterType;
  const Conversion cases[] = {
      {R"("x")", T::string, R"("x")", ""},
      {"3.0", T::string, R"("3")", ""},
      {"true", T::string, R"("true")", ""},
      {R"([1.0,"a"])", T::string, R"("[1,\"a\"]")", ""},
      {R"({"a":1.0})", T::string, R"("{\"a\":1}")", ""},
      {"null", T::string, "null", ""},
      {"null", T::integer, "null", ""},
      {"null", T::list, "null", ""},
      {"3.0", T::integer, "3", ""},
      {"-3", T::integer, "-3", ""},
      {"9007199254740991", T::integer, "9007199254740991", ""},
      {"-9007199254740991", T::integer, "-9007199254740991", ""},
      {"9007199254740992", T::integer, "",
       "parameter p of type NUMBER_INTEGER must be within +-(2^53-1), not 9007199254740992"},
      {"1e300", T::integer, "", "parameter p of type NUMBER_INTEGER must be within +-(2^53-1), not 1000"},
      {"18446744073709551615", T::integer, "", "parameter p of type NUMBER_INTEGER must be within"},
      {"3.5", T::integer, "", "parameter p must be of type NUMBER_INTEGER, not NUMBER_DOUBLE"},
      {R"("3")", T::integer, "", "parameter p must be of type NUMBER_INTEGER, not STRING"},
      {"true", T::integer, "", "parameter p must be of type NUMBER_INTEGER, not BOOLEAN"},
      {"[]", T::integer, "", "parameter p must be of type NUMBER_INTEGER, not LIST"},
      {"2", T::number, "2", ""},
      {"2.5", T::number, "2.5", ""},
      {"2.0", T::number, "2", ""},
      {R"("2.5")", T::number, "", "parameter p must be of type NUMBER_DOUBLE, not STRING"},
      {"false", T::boolean, "false", ""},
      {"1", T::boolean, "", "parameter p must be of type BOOLEAN, not NUMBER_INTEGER"},
      {R"("true")", T::boolean, "", "parameter p must be of type BOOLEAN, not STRING"},
      {"[1.0]", T::list, "[1]", ""},
      {"{}", T::list, "", "parameter p must be of type LIST, not STRUCT"},
      {R"("[1]")", T::list, "", "parameter p must be of type LIST, not STRING"},
      {R"({"a":[2.0]})", T::structure, R"({"a":[2]})", ""},
      {"[]", T::structure, "", "parameter p must be of type STRUCT, not LIST"},
      {"{}", T::task_final_status, "{}", ""},
      {R"("x")", T::task_final_status, "", "parameter p must be of type TASK_FINAL_STATUS, not STRING"},
      {"{}", T::task_config, "{}", ""},
  };
  for (const auto& c : cases) {
    auto got = convert(js(c.in), c.want, "p");
    if (c.error.empty()) {
      ASSERT_TRUE(got) << c.in << ": " << got.error().message;
      EXPECT_EQ(json::serialize(*got), c.out) << c.in;
    } else {
      ASSERT_FALSE(got) << c.in;
      EXPECT_EQ(got.error().code, Code::invalid_argument);
      EXPECT_TRUE(got.error().message.starts_with(c.error)) << got.error().message;
    }
  }
  EXPECT_FALSE(convert(Value(std::numeric_limits<double>::quiet_NaN()), ParameterType::number, "p"));
}

TEST(ParameterFromText, Table) {
  using T = ParameterType;
  const Conversion cases[] = {
      {" as it is\n", T::string, R"(" as it is\n")", ""},
      {"", T::string, R"("")", ""},
      {"42", T::integer, "42", ""},
      {" 42\n", T::integer, "42", ""},
      {"+42", T::integer, "42", ""},
      {"-007", T::integer, "-7", ""},
      {"9007199254740991", T::integer, "9007199254740991", ""},
      {"9007199254740992", T::integer, "",
       R"(output parameter p of type NUMBER_INTEGER cannot be read from "9007199254740992": it is not within)"},
      {"3.0", T::integer, "",
       R"(output parameter p of type NUMBER_INTEGER cannot be read from "3.0": it is no integer)"},
      {"", T::integer, "", R"(output parameter p of type NUMBER_INTEGER cannot be read from "": it is no integer)"},
      {"+-1", T::integer, "", "output parameter p"},
      {"1_000", T::integer, "", "output parameter p"},
      {"99999999999999999999", T::integer, "", "output parameter p"},
      {"1.5", T::number, "1.5", ""},
      {"\t1e-7 \n", T::number, "1E-7", ""},
      {"+.5", T::number, "0.5", ""},
      {"1.", T::number, "1", ""},
      {"3.0", T::number, "3", ""},
      {"1e-999", T::number, "0", ""},
      {"1e999", T::number, "", "output parameter p of type NUMBER_DOUBLE"},
      {"inf", T::number, "", "output parameter p of type NUMBER_DOUBLE"},
      {"nan", T::number, "",
       R"(output parameter p of type NUMBER_DOUBLE cannot be read from "nan": it is no finite number)"},
      {"1,5", T::number, "", "output parameter p"},
      {"", T::number, "", "output parameter p"},
      {"1", T::boolean, "true", ""},
      {"t", T::boolean, "true", ""},
      {"T", T::boolean, "true", ""},
      {"true\n", T::boolean, "true", ""},
      {"True", T::boolean, "true", ""},
      {"TRUE", T::boolean, "true", ""},
      {"0", T::boolean, "false", ""},
      {"f", T::boolean, "false", ""},
      {"F", T::boolean, "false", ""},
      {"False", T::boolean, "false", ""},
      {"FALSE", T::boolean, "false", ""},
      {"false", T::boolean, "false", ""},
      {"tRUE", T::boolean, "",
       R"(output parameter p of type BOOLEAN cannot be read from "tRUE": it is neither true nor false)"},
      {"yes", T::boolean, "", "output parameter p"},
      {"", T::boolean, "", "output parameter p"},
      {"[1.0, 2]\n", T::list, "[1,2]", ""},
      {R"({"a": 1.0})", T::list, "",
       "output parameter p of type LIST cannot be read from \"{\\\"a\\\": 1.0}\": it is no JSON array"},
      {"[1,", T::list, "", "output parameter p of type LIST"},
      {R"({"a": 1.0})", T::structure, R"({"a":1})", ""},
      {"[]", T::structure, "", "output parameter p of type STRUCT"},
      {"{'a': 1}", T::structure, "", "output parameter p of type STRUCT"},
      {"", T::structure, "", "output parameter p of type STRUCT"},
      {"null", T::structure, "", "output parameter p of type STRUCT"},
  };
  for (const auto& c : cases) {
    auto got = from_text(c.in, c.want, "p");
    if (c.error.empty()) {
      ASSERT_TRUE(got) << c.in << ": " << got.error().message;
      EXPECT_EQ(to_text(*got), to_text(js(c.out))) << c.in;
    } else {
      ASSERT_FALSE(got) << c.in << " -> " << json::serialize(*got);
      EXPECT_TRUE(got.error().message.starts_with(c.error)) << got.error().message;
    }
  }
  // Of a long text only the start is told.
  auto e = from_text(std::string(100000, 'x'), ParameterType::integer, "p");
  ASSERT_FALSE(e);
  EXPECT_LT(e.error().message.size(), 250u);
  // As deep as may be sent, and deeper.
  EXPECT_TRUE(from_text(std::string(60, '[') + std::string(60, ']'), ParameterType::list, "p"));
  EXPECT_FALSE(from_text(std::string(6000, '[') + std::string(6000, ']'), ParameterType::list, "p"));
}

}  // namespace
}  // namespace mr::pipelines
