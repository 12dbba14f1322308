// The inert tree that every model file becomes: values, containers, arrays, and objects named by a symbol. Nothing in
// it can run. Nodes live in one arena and refer to each other by index, so sharing and cycles cost nothing; whoever
// walks it bounds its own depth. Not thread safe while it is built.
#pragma once
#include <algorithm>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
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

// A numpy type: a plain one, or (kind V) a structure of named fields.
struct Dtype {
  struct Field {
    std::string name;
    char kind = 'f';
    int itemsize = 8;
    bool swap = false;  // stored in the other byte order
    std::size_t offset = 0;
  };
  char kind = 'f';
  int itemsize = 8;
  bool swap = false;
  std::vector<Field> fields;                                      // of a structure; each lies within itemsize
  [[nodiscard]] const Field* field(std::string_view name) const;  // null when there is none
};
// A type as numpy spells it: "<f8", "|V64". A structure as a .npy file does: [('a', '<i8'), ('', '|V7')].
Result<Dtype> parse_dtype(std::string_view descr);

// A numpy array that is still the bytes of the file: `bytes` holds exactly the items of `shape`. Good as long as its
// Tree.
struct Buffer {
  Dtype dtype;
  std::vector<std::int64_t> shape;
  bool fortran = false;
  std::string_view bytes;
  [[nodiscard]] std::size_t count() const { return bytes.size() / static_cast<std::size_t>(dtype.itemsize); }
};

// A file's bytes and what keeps them alive.
struct Source {
  std::shared_ptr<const void> owner;
  std::string_view bytes;
};

struct Node {
  NodeKind kind = NodeKind::none;
  std::int64_t integer = 0;  // integer, boolean
  double real = 0;
  std::string text;           // text, bytes; of a symbol: "module.name"
  std::vector<NodeId> items;  // list, tuple; dict: key, value, key, value; object: arguments; array of objects: cells
  NodeId callee = kNoNode;    // object: the symbol that made it
  NodeId state = kNoNode;     // object: what BUILD attached
  std::int32_t array = -1;    // index into Tree::arrays; -1: an array of objects that are not all texts
  std::int32_t buffer = -1;   // of an array: index into Tree::buffers, and no other; it is decoded when it is asked for
  std::string_view raw;       // of bytes: what `text` would hold, where it lies in the file; see Tree::bytes_of
};

class Tree {
 public:
  std::deque<Node> nodes;  // grows without copying
  std::vector<Array> arrays;
  std::vector<Buffer> buffers;
  std::vector<std::shared_ptr<const void>> owners;  // of the bytes that `raw` and `buffers` show
  NodeId root = kNoNode;

  // What copies of items and texts have cost so far: a small file can ask for the same copy many times.
  std::size_t copied_items = 0;
  std::size_t copied_bytes = 0;
  // Likewise what array_of may still decode: one array can be asked for by many owners.
  mutable std::size_t decode_left = 1U << 30;
  mutable std::size_t decoded = 0;  // bytes that array_of has given; most of them stay in the engine

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
  // An array of numbers or structures without decoding it. Its size has been checked.
  [[nodiscard]] Result<Buffer> buffer_of(NodeId id) const;
  [[nodiscard]] std::string_view bytes_of(const Node& n) const { return n.raw.empty() ? n.text : n.raw; }
  // The items of a list, a tuple or an object array, whatever they are. Errors: it is none of these.
  [[nodiscard]] Result<std::vector<NodeId>> cells(NodeId id) const;
  [[nodiscard]] bool is_none(NodeId id) const { return id == kNoNode || at(id).kind == NodeKind::none; }
  [[nodiscard]] std::string text_of(NodeId id) const;  // "" when it is no text
};

// Bytes of a numpy buffer as an Array. `descr` is like "<f8", "|b1", "<U7". Errors: a type or size that does not fit.
Result<Array> decode_buffer(std::string_view descr, std::vector<std::int64_t> shape, bool fortran,
                            std::string_view bytes);

Result<Array> decode(const Buffer& buffer);
// Errors: the bytes do not fit the shape.
Result<Buffer> make_buffer(Dtype dtype, std::vector<std::int64_t> shape, bool fortran, std::string_view bytes);
// The type that a numpy.dtype in the tree stands for.
Result<Dtype> dtype_at(const Tree& tree, NodeId id);

// Limits of one file. Large files may hold more, in proportion; what unpacks to many times its size may not.
struct ReadLimits {
  std::size_t max_bytes = std::size_t{2} << 30;  // of the file
  std::size_t max_unpacked = 64U << 20;  // of what is unpacked from it, or max_ratio times its size if that is more
  std::size_t max_ratio = 30;
  std::size_t max_nodes = 400'000;  // and one more for each 32 bytes
  std::size_t max_stack = 400'000;
  [[nodiscard]] std::size_t unpacked(std::size_t file) const {
    return std::min(max_bytes, std::max(max_unpacked, file * max_ratio));
  }
  [[nodiscard]] std::size_t nodes(std::size_t bytes) const { return max_nodes + bytes / 32; }
};

// Whether a name from a model file may stand in the tree; the refusal names it. Shared by the pickle and skops readers.
Result<> check_symbol(const std::string& module, const std::string& name);

}  // namespace mr::serving
