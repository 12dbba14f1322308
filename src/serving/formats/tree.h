// The inert tree that every model file becomes: values, containers, arrays, and objects named by a symbol. Nothing in
// it can run. Nodes live in one arena and refer to each other by index, so sharing and cycles cost nothing; whoever
// walks it bounds its own depth. Not thread safe while it is built.
#pragma once
#include <cstdint>
#include <deque>
#include <map>
#include <string>
#include <vector>

#include "core/error.h"
#include "serving/types.h"

namespace mr::serving {

using NodeId = std::uint32_t;
constexpr NodeId kNoNode = UINT32_MAX;

enum class NodeKind : std::uint8_t {
  none,
  boolean,
  integer,
  real,
  text,
  bytes,
  list,
  tuple,
  dict,
  symbol,
  object,
  array
};

struct Array {
  char kind = 'f';  // numpy's: f i u b U O
  int itemsize = 8;
  std::vector<std::int64_t> shape;
  std::vector<double> numbers;     // row-major, for f i u b
  std::vector<std::string> texts;  // for U and O
  [[nodiscard]] std::size_t size() const { return kind == 'U' || kind == 'O' ? texts.size() : numbers.size(); }
};

struct Node {
  NodeKind kind = NodeKind::none;
  std::int64_t integer = 0;  // integer, boolean
  double real = 0;
  std::string text;           // text, bytes; of a symbol: "module.name"
  std::vector<NodeId> items;  // list, tuple; dict: key, value, key, value; object: arguments
  NodeId callee = kNoNode;    // object: the symbol that made it
  NodeId state = kNoNode;     // object: what BUILD attached
  std::int32_t array = -1;    // index into Tree::arrays
};

class Tree {
 public:
  std::deque<Node> nodes;  // grows without copying
  std::vector<Array> arrays;
  NodeId root = kNoNode;

  // What copies of items and texts have cost so far: a small file can ask for the same copy many times.
  std::size_t copied_items = 0;
  std::size_t copied_bytes = 0;

  NodeId add(Node n) {
    nodes.push_back(std::move(n));
    return static_cast<NodeId>(nodes.size() - 1);
  }
  [[nodiscard]] const Node& at(NodeId id) const { return nodes.at(id); }
  // "module.Class" of an object, or empty.
  [[nodiscard]] std::string class_of(NodeId id) const;
  // The value of a text key in a dict, or in an object's state; kNoNode when absent.
  [[nodiscard]] NodeId get(NodeId owner, std::string_view key) const;
  // An array node, a numpy reconstruction or a scalar, decoded; numbers are widened to double.
  [[nodiscard]] Result<Array> array_of(NodeId id) const;
  [[nodiscard]] bool is_none(NodeId id) const { return id == kNoNode || at(id).kind == NodeKind::none; }
  [[nodiscard]] std::string text_of(NodeId id) const;  // "" when it is no text
};

// Bytes of a numpy buffer as an Array. `descr` is like "<f8", "|b1", "<U7". Errors: a type or size that does not fit.
Result<Array> decode_buffer(std::string_view descr, std::vector<std::int64_t> shape, bool fortran,
                            std::string_view bytes);

// Limits of one file.
struct ReadLimits {
  std::size_t max_bytes = 64U << 20;  // of the file, decompressed
  std::size_t max_nodes = 400'000;
  std::size_t max_stack = 400'000;
};

// Whether a name from a model file may stand in the tree; the refusal names it. Shared by the pickle and skops readers.
Result<> check_symbol(const std::string& module, const std::string& name);

}  // namespace mr::serving
