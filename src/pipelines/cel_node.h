// What the reader of expressions (cel_parse.cpp) hands to their evaluator (cel_eval.cpp). Internal to the room.
// A tree is immutable once parsed. Chains of operators of one rank are one node, so a tree is only as deep as the text
// nests.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "pipelines/cel.h"

namespace mr::pipelines {

namespace cel {

using NodePtr = std::unique_ptr<Expression::Node>;

enum class Operator : std::uint8_t {
  equal,
  unequal,
  less,
  at_most,
  greater,
  at_least,
  in,
  add,
  subtract,
  multiply,
  divide,
  remainder
};
enum class Function : std::uint8_t {
  size,
  to_int,
  to_uint,
  to_double,
  to_string,
  to_bool,
  dyn,
  starts_with,
  ends_with,
  contains,
  matches,
  parse_json,
};

// One step of `a.b[c].d(e)`.
struct Step {
  enum class Kind : std::uint8_t { field, index, method } kind = Kind::field;
  std::string field;
  Function method{};
  std::vector<NodePtr> arguments;  // of an index: one
};

// Everything that may make work or memory of an evaluation large is paid from this many bytes.
constexpr std::size_t kEvaluationBudget = std::size_t{256} << 20;
constexpr std::size_t kLongestText = std::size_t{64} << 10;
constexpr int kDeepest = 64;

}  // namespace cel

struct Expression::Node {
  enum class Kind : std::uint8_t {
    null,
    boolean,
    integer,
    uinteger,
    number,
    string,  // literals
    name,    // text
    list,    // children
    map,     // children: key, value, key, value
    path,    // children[0], then steps
    call,    // function(children)
    negate,  // children[0]
    invert,  // !children[0]
    all,
    any,     // && and ||
    chain,   // children with operators between them, from left to right
    choose,  // children[0] ? children[1] : children[2]
    has,     // children[0], a path; is its last step there?
  };
  Kind kind = Kind::null;
  bool boolean = false;
  std::int64_t integer = 0;
  std::uint64_t uinteger = 0;
  double number = 0;
  std::string text;
  cel::Function function{};
  std::vector<cel::NodePtr> children;
  std::vector<cel::Operator> operators;
  std::vector<cel::Step> steps;
  std::vector<std::string> roots;  // of the whole tree, kept in its root: the names of variables
};

}  // namespace mr::pipelines
