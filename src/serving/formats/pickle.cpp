#include "serving/formats/pickle.h"

namespace mr::serving {

namespace {

enum Op : unsigned char {
  MARK = '(',
  STOP = '.',
  POP = '0',
  POP_MARK = '1',
  DUP = '2',
  BININT = 'J',
  BININT1 = 'K',
  BININT2 = 'M',
  NONE = 'N',
  REDUCE = 'R',
  BINUNICODE = 'X',
  BUILD = 'b',
  GLOBAL = 'c',
  APPEND = 'a',
  APPENDS = 'e',
  BINGET = 'h',
  LONG_BINGET = 'j',
  EMPTY_LIST = ']',
  BINPUT = 'q',
  LONG_BINPUT = 'r',
  SETITEM = 's',
  SETITEMS = 'u',
  TUPLE = 't',
  EMPTY_TUPLE = ')',
  EMPTY_DICT = '}',
  BINFLOAT = 'G',
  BINBYTES = 'B',
  SHORT_BINBYTES = 'C',
  BINSTRING = 'T',
  SHORT_BINSTRING = 'U',
  PROTO = 0x80,
  NEWOBJ = 0x81,
  EXT1 = 0x82,
  EXT2 = 0x83,
  EXT4 = 0x84,
  TUPLE1 = 0x85,
  TUPLE2 = 0x86,
  TUPLE3 = 0x87,
  NEWTRUE = 0x88,
  NEWFALSE = 0x89,
  LONG1 = 0x8a,
  LONG4 = 0x8b,
  SHORT_BINUNICODE = 0x8c,
  BINUNICODE8 = 0x8d,
  BINBYTES8 = 0x8e,
  EMPTY_SET = 0x8f,
  ADDITEMS = 0x90,
  FROZENSET = 0x91,
  NEWOBJ_EX = 0x92,
  STACK_GLOBAL = 0x93,
  MEMOIZE = 0x94,
  FRAME = 0x95,
  BYTEARRAY8 = 0x96,
  NEXT_BUFFER = 0x97,
  READONLY_BUFFER = 0x98,
};

// Names of opcodes that are known and refused.
std::string_view refused_name(unsigned char op) {
  switch (op) {
    case EXT1:
      return "EXT1";
    case EXT2:
      return "EXT2";
    case EXT4:
      return "EXT4";
    case NEXT_BUFFER:
      return "NEXT_BUFFER";
    case READONLY_BUFFER:
      return "READONLY_BUFFER";
    case 'P':
      return "PERSID";
    case 'Q':
      return "BINPERSID";
    case 'i':
      return "INST";
    case 'o':
      return "OBJ";
    case 'I':
      return "INT";
    case 'L':
      return "LONG";
    case 'F':
      return "FLOAT";
    case 'S':
      return "STRING";
    case 'V':
      return "UNICODE";
    case 'd':
      return "DICT";
    case 'l':
      return "LIST";
    case 'g':
      return "GET";
    case 'p':
      return "PUT";
    default:
      return {};
  }
}

std::unexpected<Error> damaged(std::string what) {
  return fail(Code::invalid_argument, "the pickle is damaged: " + std::move(what));
}

constexpr NodeId kMark = kNoNode - 1;
constexpr std::size_t kLongBytes = 256;

class Reader {
 public:
  Reader(std::string_view bytes, Tree& tree, const ReadLimits& limits, std::size_t at, int depth)
      : b_(bytes), t_(tree), limits_(limits), max_nodes_(limits.nodes(bytes.size())), at_(at), depth_(depth) {}

  [[nodiscard]] std::size_t position() const { return at_; }

  // Runs to STOP; the value left on the stack.
  Result<NodeId> run() {
    for (;;) {
      if (at_ >= b_.size()) return damaged("it is cut short");
      auto op = static_cast<unsigned char>(b_[at_++]);
      if (op == STOP) {
        MR_TRY(NodeId top, pop());
        return top;
      }
      MR_CHECK(step(op));
      if (t_.nodes.size() > max_nodes_ || stack_.size() > limits_.max_stack || memo_.size() > max_nodes_)
        return fail(Code::too_large, "the pickle has more values than are read");
    }
  }

 private:
  Result<std::string_view> take(std::uint64_t n) {
    if (n > b_.size() - at_) return damaged("it is cut short");
    auto s = b_.substr(at_, static_cast<std::size_t>(n));
    at_ += static_cast<std::size_t>(n);
    return s;
  }
  template <class T>
  Result<T> number() {
    MR_TRY(auto s, take(sizeof(T)));
    T v{};
    std::copy_n(s.data(), sizeof(T), reinterpret_cast<char*>(&v));
    return v;
  }
  Result<std::string_view> line() {
    auto nl = b_.find('\n', at_);
    if (nl == std::string_view::npos || nl - at_ > 4096) return damaged("a name has no end");
    auto s = b_.substr(at_, nl - at_);
    at_ = nl + 1;
    return s;
  }

  void push(NodeId id) { stack_.push_back(id); }
  NodeId make(NodeKind k) {
    Node n;
    n.kind = k;
    return t_.add(std::move(n));
  }
  void push_text(NodeKind k, std::string_view s) {
    Node n;
    n.kind = k;
    n.text = s;
    push(t_.add(std::move(n)));
  }
  // Long bytes stay where they are.
  void push_bytes(std::string_view s) {
    Node n;
    n.kind = NodeKind::bytes;
    if (s.size() < kLongBytes)
      n.text = s;
    else
      n.raw = s;
    push(t_.add(std::move(n)));
  }
  void push_integer(std::int64_t v, NodeKind k = NodeKind::integer) {
    Node n;
    n.kind = k;
    n.integer = v;
    push(t_.add(std::move(n)));
  }
  Result<NodeId> pop() {
    if (stack_.empty() || stack_.back() == kMark) return damaged("its stack is empty");
    auto id = stack_.back();
    stack_.pop_back();
    return id;
  }
  Result<NodeId> top() {
    if (stack_.empty() || stack_.back() == kMark) return damaged("its stack is empty");
    return stack_.back();
  }
  // What lies above the last mark, which goes too.
  Result<std::vector<NodeId>> pop_to_mark() {
    for (std::size_t i = stack_.size(); i-- > 0;) {
      if (stack_[i] != kMark) continue;
      std::vector<NodeId> items(stack_.begin() + static_cast<std::ptrdiff_t>(i) + 1, stack_.end());
      stack_.resize(i);
      return items;
    }
    return damaged("a mark is missing");
  }
  Result<> tuple(std::size_t n) {
    auto id = make(NodeKind::tuple);
    std::vector<NodeId> items(n);
    for (std::size_t i = n; i-- > 0;) {
      MR_TRY(items[i], pop());
    }
    t_.nodes[id].items = std::move(items);
    push(id);
    return {};
  }
  Result<> symbol(const std::string& module, const std::string& name) {
    MR_CHECK(check_symbol(module, name));
    push_text(NodeKind::symbol, module + "." + name);
    return {};
  }
  Result<> extend(NodeKind want, std::vector<NodeId> items) {
    MR_TRY(NodeId owner, top());
    auto& n = t_.nodes[owner];
    // An OrderedDict or a list subclass keeps its items beside its arguments; only plain ones are read.
    if (n.kind != want && n.kind != NodeKind::object) return damaged("items are added to something that holds none");
    if (n.kind == want) n.items.insert(n.items.end(), items.begin(), items.end());
    return {};
  }
  // callee(args): an inert object, save for the few functions that only wrap bytes.
  Result<> call(NodeId callee, NodeId args) {
    const auto& f = t_.at(callee);
    if (f.kind != NodeKind::symbol) return damaged("something that is no name is called");
    if (t_.at(args).kind != NodeKind::tuple) return damaged("arguments are not a tuple");
    t_.copied_items += t_.at(args).items.size();
    if (t_.copied_items > max_nodes_) return fail(Code::too_large, "the pickle has more values than are read");
    auto items = t_.at(args).items;
    const std::string name = f.text;
    if (name == "_codecs.encode" || name == "__builtin__.bytes" || name == "builtins.bytes" ||
        name == "__builtin__.bytearray" || name == "builtins.bytearray") {
      // Protocol 2 writes bytes as text that is encoded to latin-1.
      Node n;
      n.kind = NodeKind::bytes;
      if (!items.empty()) {
        const auto& source = t_.at(items[0]);
        if (source.kind == NodeKind::bytes && !source.raw.empty()) {
          n.raw = source.raw;
          push(t_.add(std::move(n)));
          return {};
        }
        t_.copied_bytes += source.text.size();
        if (t_.copied_bytes > limits_.max_bytes)
          return fail(Code::too_large, "the pickle has more bytes than are read");
        if (source.kind == NodeKind::bytes) {
          n.text = source.text;
        } else if (source.kind == NodeKind::text) {
          MR_TRY(n.text, latin1(source.text));
        } else {
          return damaged("bytes are made of something else than text");
        }
      }
      push(t_.add(std::move(n)));
      return {};
    }
    if (name == "copyreg._reconstructor" || name == "copy_reg._reconstructor") {
      if (items.empty() || t_.at(items[0]).kind != NodeKind::symbol) return damaged("an object has no class");
      Node n;
      n.kind = NodeKind::object;
      n.callee = items[0];
      push(t_.add(std::move(n)));
      return {};
    }
    Node n;
    n.kind = NodeKind::object;
    n.callee = callee;
    n.items = std::move(items);
    push(t_.add(std::move(n)));
    return {};
  }
  static Result<std::string> latin1(std::string_view utf8) {
    std::string out;
    for (std::size_t i = 0; i < utf8.size(); ++i) {
      auto c = static_cast<unsigned char>(utf8[i]);
      if (c < 0x80) {
        out += static_cast<char>(c);
      } else if ((c == 0xC2 || c == 0xC3) && i + 1 < utf8.size()) {
        out += static_cast<char>((c & 3) << 6 | (static_cast<unsigned char>(utf8[++i]) & 63));
      } else {
        return damaged("a text that stands for bytes is not latin-1");
      }
    }
    return out;
  }
  Result<> long_integer(std::uint64_t n) {
    MR_TRY(auto s, take(n));
    if (s.size() > 8) {  // beyond 64 bits: seeds and the like; no estimator needs the value
      push_integer(s.back() < 0 ? INT64_MIN : INT64_MAX);
      return {};
    }
    std::uint64_t v = !s.empty() && (s.back() & 0x80) != 0 ? ~0ULL : 0;
    for (std::size_t i = s.size(); i-- > 0;) v = v << 8 | static_cast<unsigned char>(s[i]);
    push_integer(static_cast<std::int64_t>(v));
    return {};
  }
  Result<> memoize(std::uint64_t key) {
    MR_TRY(NodeId id, top());
    memo_[key] = id;
    return {};
  }
  Result<> recall(std::uint64_t key) {
    auto it = memo_.find(key);
    if (it == memo_.end()) return damaged("it names a value that it has not stored");
    push(it->second);
    return {};
  }
  // joblib writes an array's bytes right after the BUILD of its wrapper.
  Result<> joblib_array(NodeId wrapper);

  Result<> step(unsigned char op);

  std::string_view b_;
  Tree& t_;
  const ReadLimits& limits_;
  std::size_t max_nodes_;
  std::size_t at_;
  int depth_;
  std::vector<NodeId> stack_;
  std::unordered_map<std::uint64_t, NodeId> memo_;
};

Result<> Reader::joblib_array(NodeId wrapper) {
  Buffer buffer;
  auto shape_id = t_.get(wrapper, "shape");
  if (shape_id == kNoNode || t_.at(shape_id).kind != NodeKind::tuple) return damaged("an array has no shape");
  std::uint64_t count = 1;
  for (auto i : t_.at(shape_id).items) {
    auto d = t_.at(i).integer;
    if (t_.at(i).kind != NodeKind::integer || d < 0 || (d > 0 && count > (1ULL << 40) / static_cast<std::uint64_t>(d)))
      return damaged("an array's shape is out of range");
    buffer.shape.push_back(d);
    count *= static_cast<std::uint64_t>(d);
  }
  auto dtype = t_.get(wrapper, "dtype");
  if (t_.class_of(dtype) != "numpy.dtype" || t_.at(dtype).items.empty()) return damaged("an array has no type");
  if (t_.text_of(t_.at(dtype).items[0]).starts_with("O")) {
    if (depth_ > 8) return damaged("arrays are nested too deep");
    Reader nested(b_, t_, limits_, at_, depth_ + 1);
    MR_TRY(NodeId inner, nested.run());
    at_ = nested.position();
    // The wrapper becomes the array that it wraps.
    t_.nodes[wrapper] = Node(t_.at(inner));
    return {};
  }
  MR_TRY(buffer.dtype, dtype_at(t_, dtype));
  auto align = t_.get(wrapper, "numpy_array_alignment_bytes");
  if (!t_.is_none(align)) {
    MR_TRY(auto pad, number<std::uint8_t>());
    MR_CHECK(take(pad));
  }
  MR_TRY(buffer.bytes, take(count * static_cast<std::uint64_t>(buffer.dtype.itemsize)));
  auto order = t_.text_of(t_.get(wrapper, "order"));
  if (order != "C" && order != "F") return damaged(fmt::format("an array has the order '{}'", printable(order)));
  buffer.fortran = order == "F";
  Node n;
  n.kind = NodeKind::array;
  n.buffer = static_cast<std::int32_t>(t_.buffers.size());
  t_.buffers.push_back(std::move(buffer));
  t_.nodes[wrapper] = std::move(n);
  return {};
}

Result<> Reader::step(unsigned char op) {
  switch (op) {
    case PROTO: {
      MR_TRY(auto v, number<std::uint8_t>());
      if (v < 2 || v > 5)
        return fail(Code::invalid_argument, fmt::format("pickle protocol {} is not read; 2 to 5 are", v));
      return {};
    }
    case FRAME: {
      MR_TRY(auto n, number<std::uint64_t>());
      if (n > b_.size() - at_) return damaged("a frame is longer than the file");
      return {};
    }
    case MARK:
      push(kMark);
      return {};
    case POP:
      if (stack_.empty()) return damaged("its stack is empty");
      stack_.pop_back();
      return {};
    case POP_MARK:
      MR_CHECK(pop_to_mark());
      return {};
    case DUP: {
      MR_TRY(NodeId id, top());
      push(id);
      return {};
    }
    case NONE:
      push(make(NodeKind::none));
      return {};
    case NEWTRUE:
      push_integer(1, NodeKind::boolean);
      return {};
    case NEWFALSE:
      push_integer(0, NodeKind::boolean);
      return {};
    case BININT: {
      MR_TRY(auto v, number<std::int32_t>());
      push_integer(v);
      return {};
    }
    case BININT1: {
      MR_TRY(auto v, number<std::uint8_t>());
      push_integer(v);
      return {};
    }
    case BININT2: {
      MR_TRY(auto v, number<std::uint16_t>());
      push_integer(v);
      return {};
    }
    case LONG1: {
      MR_TRY(auto n, number<std::uint8_t>());
      return long_integer(n);
    }
    case LONG4: {
      MR_TRY(auto n, number<std::int32_t>());
      if (n < 0) return damaged("a number has a negative length");
      return long_integer(static_cast<std::uint64_t>(n));
    }
    case BINFLOAT: {
      MR_TRY(auto bits, number<std::uint64_t>());
      bits = __builtin_bswap64(bits);
      Node n;
      n.kind = NodeKind::real;
      std::memcpy(&n.real, &bits, 8);
      push(t_.add(std::move(n)));
      return {};
    }
    case SHORT_BINUNICODE: {
      MR_TRY(auto n, number<std::uint8_t>());
      MR_TRY(auto s, take(n));
      push_text(NodeKind::text, s);
      return {};
    }
    case BINUNICODE: {
      MR_TRY(auto n, number<std::uint32_t>());
      MR_TRY(auto s, take(n));
      push_text(NodeKind::text, s);
      return {};
    }
    case BINUNICODE8: {
      MR_TRY(auto n, number<std::uint64_t>());
      MR_TRY(auto s, take(n));
      push_text(NodeKind::text, s);
      return {};
    }
    case SHORT_BINBYTES:
    case SHORT_BINSTRING: {
      MR_TRY(auto n, number<std::uint8_t>());
      MR_TRY(auto s, take(n));
      if (op == SHORT_BINSTRING)
        push_text(NodeKind::text, s);
      else
        push_bytes(s);
      return {};
    }
    case BINBYTES:
    case BINSTRING: {
      MR_TRY(auto n, number<std::uint32_t>());
      MR_TRY(auto s, take(n));
      if (op == BINSTRING)
        push_text(NodeKind::text, s);
      else
        push_bytes(s);
      return {};
    }
    case BINBYTES8:
    case BYTEARRAY8: {
      MR_TRY(auto n, number<std::uint64_t>());
      MR_TRY(auto s, take(n));
      push_bytes(s);
      return {};
    }
    case EMPTY_LIST:
      push(make(NodeKind::list));
      return {};
    case EMPTY_SET:
      push(make(NodeKind::list));
      return {};
    case EMPTY_DICT:
      push(make(NodeKind::dict));
      return {};
    case EMPTY_TUPLE:
      push(make(NodeKind::tuple));
      return {};
    case TUPLE1:
      return tuple(1);
    case TUPLE2:
      return tuple(2);
    case TUPLE3:
      return tuple(3);
    case TUPLE:
    case FROZENSET: {
      MR_TRY(auto items, pop_to_mark());
      auto id = make(op == TUPLE ? NodeKind::tuple : NodeKind::list);
      t_.nodes[id].items = std::move(items);
      push(id);
      return {};
    }
    case APPEND: {
      MR_TRY(NodeId v, pop());
      return extend(NodeKind::list, {v});
    }
    case APPENDS:
    case ADDITEMS: {
      MR_TRY(auto items, pop_to_mark());
      return extend(NodeKind::list, std::move(items));
    }
    case SETITEM: {
      MR_TRY(NodeId v, pop());
      MR_TRY(NodeId k, pop());
      return extend(NodeKind::dict, {k, v});
    }
    case SETITEMS: {
      MR_TRY(auto items, pop_to_mark());
      if (items.size() % 2 != 0) return damaged("a dict has a key without a value");
      return extend(NodeKind::dict, std::move(items));
    }
    case GLOBAL: {
      MR_TRY(auto module, line());
      MR_TRY(auto name, line());
      return symbol(std::string(module), std::string(name));
    }
    case STACK_GLOBAL: {
      MR_TRY(NodeId name, pop());
      MR_TRY(NodeId module, pop());
      if (t_.at(name).kind != NodeKind::text || t_.at(module).kind != NodeKind::text)
        return damaged("a name is not a text");
      return symbol(t_.at(module).text, t_.at(name).text);
    }
    case REDUCE:
    case NEWOBJ: {
      MR_TRY(NodeId args, pop());
      MR_TRY(NodeId callee, pop());
      return call(callee, args);
    }
    case NEWOBJ_EX: {
      MR_TRY(NodeId keywords, pop());
      MR_TRY(NodeId args, pop());
      MR_TRY(NodeId callee, pop());
      if (t_.at(keywords).kind != NodeKind::dict) return damaged("keyword arguments are not a dict");
      return call(callee, args);
    }
    case BUILD: {
      MR_TRY(NodeId state, pop());
      MR_TRY(NodeId owner, top());
      if (t_.at(owner).kind != NodeKind::object) return damaged("a state is given to something that has none");
      t_.nodes[owner].state = state;
      if (t_.class_of(owner) == "joblib.numpy_pickle.NumpyArrayWrapper") return joblib_array(owner);
      return {};
    }
    case BINPUT: {
      MR_TRY(auto k, number<std::uint8_t>());
      return memoize(k);
    }
    case LONG_BINPUT: {
      MR_TRY(auto k, number<std::uint32_t>());
      return memoize(k);
    }
    case MEMOIZE:
      return memoize(memo_.size());
    case BINGET: {
      MR_TRY(auto k, number<std::uint8_t>());
      return recall(k);
    }
    case LONG_BINGET: {
      MR_TRY(auto k, number<std::uint32_t>());
      return recall(k);
    }
    default:
      break;
  }
  if (auto name = refused_name(op); !name.empty())
    return fail(Code::invalid_argument, fmt::format("the pickle opcode {} is not read", name), "opcode");
  return fail(Code::invalid_argument, fmt::format("the byte 0x{:02x} at offset {} is no pickle opcode", op, at_ - 1),
              "opcode");
}

}  // namespace

Result<Tree> read_pickle(Source source, const ReadLimits& limits) {
  MR_TRY(auto plain, unpacked(std::move(source), limits));
  Tree t;
  t.decode_left = (std::size_t{64} << 20) + 16 * plain.bytes.size();
  t.owners.push_back(plain.owner);
  Reader r(plain.bytes, t, limits, 0, 0);
  MR_TRY(t.root, r.run());
  return t;
}

Result<Tree> read_pickle(std::string_view bytes, const ReadLimits& limits) {
  auto copy = std::make_shared<const std::string>(bytes);
  return read_pickle(Source{copy, *copy}, limits);
}

}  // namespace mr::serving
