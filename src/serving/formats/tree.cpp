#include "serving/formats/tree.h"

#include "text/text.h"

namespace mr::serving {

std::string printable(std::string_view s) {
  std::string out;
  for (char c : text::utf8_prefix(s, 200)) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F)
      out += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
    else
      out += c;
    if (out.size() > 200) break;
  }
  return out;
}

std::string Tree::class_of(NodeId id) const {
  if (id == kNoNode) return {};
  const auto& n = at(id);
  if (n.kind != NodeKind::object || n.callee == kNoNode) return {};
  return at(n.callee).text;
}

NodeId Tree::get(NodeId owner, std::string_view key) const {
  if (owner == kNoNode) return kNoNode;
  const Node* n = &at(owner);
  if (n->kind == NodeKind::object) {
    if (n->state == kNoNode) return kNoNode;
    n = &at(n->state);
    // A two-tuple state is (dict, slots).
    if (n->kind == NodeKind::tuple && n->items.size() == 2) n = &at(n->items[0]);
  }
  if (n->kind != NodeKind::dict) return kNoNode;
  NodeId found = kNoNode;
  for (std::size_t i = 0; i + 1 < n->items.size(); i += 2) {
    const auto& k = at(n->items[i]);
    if (k.kind == NodeKind::text && k.text == key) found = n->items[i + 1];  // a repeated key: the last wins
  }
  return found;
}

std::string Tree::text_of(NodeId id) const {
  if (id == kNoNode || at(id).kind != NodeKind::text) return {};
  return at(id).text;
}

namespace {

Result<std::uint64_t> element_count(const std::vector<std::int64_t>& shape) {
  if (shape.size() > 32) return fail(Code::invalid_argument, "an array has more than 32 dimensions");
  std::uint64_t n = 1;
  for (auto d : shape) {
    if (d < 0 || (d > 0 && n > (1ULL << 40) / static_cast<std::uint64_t>(d)))
      return fail(Code::invalid_argument, "an array's shape is out of range");
    n *= static_cast<std::uint64_t>(d);
  }
  return n;
}

template <class T>
double load(const char* p, bool swap) {
  char raw[sizeof(T)];
  std::memcpy(raw, p, sizeof(T));
  if (swap) std::reverse(raw, raw + sizeof(T));
  T v{};
  std::memcpy(&v, raw, sizeof(T));
  return static_cast<double>(v);
}

// IEEE half precision.
double load_half(const char* p, bool swap) {
  unsigned char b[2] = {static_cast<unsigned char>(p[0]), static_cast<unsigned char>(p[1])};
  unsigned h = swap ? (b[0] << 8U | b[1]) : (b[1] << 8U | b[0]);
  int exponent = static_cast<int>(h >> 10U & 31U);
  double mantissa = h & 1023U;
  double v = exponent == 0    ? std::ldexp(mantissa, -24)
             : exponent == 31 ? (mantissa != 0 ? std::nan("") : INFINITY)
                              : std::ldexp(1024 + mantissa, exponent - 25);
  return (h & 0x8000U) != 0 ? -v : v;
}

void append_utf8(std::string& out, std::uint32_t c) {
  if (c < 0x80) {
    out += static_cast<char>(c);
  } else if (c < 0x800) {
    out += static_cast<char>(0xC0 | c >> 6);
    out += static_cast<char>(0x80 | (c & 63));
  } else if (c < 0x10000) {
    out += static_cast<char>(0xE0 | c >> 12);
    out += static_cast<char>(0x80 | (c >> 6 & 63));
    out += static_cast<char>(0x80 | (c & 63));
  } else {
    out += static_cast<char>(0xF0 | (c >> 18 & 7));
    out += static_cast<char>(0x80 | (c >> 12 & 63));
    out += static_cast<char>(0x80 | (c >> 6 & 63));
    out += static_cast<char>(0x80 | (c & 63));
  }
}

// Column-major to row-major.
template <class T>
std::vector<T> to_row_major(std::vector<T> in, const std::vector<std::int64_t>& shape) {
  if (shape.size() < 2 || in.empty()) return in;
  std::vector<T> out(in.size());
  std::vector<std::size_t> index(shape.size(), 0);
  std::vector<std::size_t> stride(shape.size(), 1);
  for (std::size_t d = 1; d < shape.size(); ++d) stride[d] = stride[d - 1] * static_cast<std::size_t>(shape[d - 1]);
  for (auto& slot : out) {
    std::size_t from = 0;
    for (std::size_t d = 0; d < shape.size(); ++d) from += index[d] * stride[d];
    slot = std::move(in[from]);
    for (std::size_t d = shape.size(); d-- > 0;) {
      if (++index[d] < static_cast<std::size_t>(shape[d])) break;
      index[d] = 0;
    }
  }
  return out;
}

}  // namespace

const Dtype::Field* Dtype::field(std::string_view name) const {
  for (const auto& f : fields)
    if (f.name == name) return &f;
  return nullptr;
}

namespace {

std::unexpected<Error> unread_type(std::string_view descr) {
  return fail(Code::invalid_argument, fmt::format("an array has the type '{}', which is not read", printable(descr)));
}

Result<Dtype> plain_dtype(std::string_view descr) {
  auto code = descr;
  Dtype d;
  if (!code.empty() && std::string_view("<>|=").find(code[0]) != std::string_view::npos) {
    d.swap = code[0] == '>';
    code.remove_prefix(1);
  }
  auto size = code.empty() ? std::nullopt : text::to_i64(code.substr(1));
  if (!size || *size < 1 || *size > 1 << 20) return unread_type(descr);
  d.kind = code[0];
  d.itemsize = static_cast<int>(*size);
  bool known = false;
  switch (d.kind) {
    case 'f':
      known = *size == 2 || *size == 4 || *size == 8;
      break;
    case 'i':
    case 'u':
      known = *size == 1 || *size == 2 || *size == 4 || *size == 8;
      break;
    case 'b':
      known = *size == 1;
      break;
    case 'U':
      d.itemsize *= 4;
      known = true;
      break;
    case 'V':
      known = true;
      break;
    default:
      break;
  }
  if (!known) return unread_type(descr);
  return d;
}

// [('left', '<i8'), ('flag', 'u1'), ('', '|V7')]: fields follow one another; those without a name only fill.
Result<Dtype> structure_dtype(std::string_view descr) {
  Dtype d;
  d.kind = 'V';
  std::size_t size = 0;
  auto at = descr;
  auto quoted = [&]() -> std::optional<std::string> {
    auto from = at.find('\'');
    auto to = from == std::string_view::npos ? from : at.find('\'', from + 1);
    if (to == std::string_view::npos) return std::nullopt;
    std::string s(at.substr(from + 1, to - from - 1));
    at.remove_prefix(to + 1);
    return s;
  };
  while (at.find('\'') != std::string_view::npos) {
    auto name = quoted();
    auto code = quoted();
    if (!name || !code || d.fields.size() > 100) return unread_type(descr);
    MR_TRY(Dtype f, plain_dtype(*code));
    // A field that is an array itself has a shape after its type.
    if (!text::trim(at).starts_with(')')) return unread_type(descr);
    if (!name->empty()) d.fields.push_back({*name, f.kind, f.itemsize, f.swap, size});
    size += static_cast<std::size_t>(f.itemsize);
  }
  if (size == 0 || size > 1 << 20) return unread_type(descr);
  d.itemsize = static_cast<int>(size);
  return d;
}

}  // namespace

Result<Buffer> make_buffer(Dtype dtype, std::vector<std::int64_t> shape, bool fortran, std::string_view bytes) {
  MR_TRY(auto n, element_count(shape));
  auto size = static_cast<std::uint64_t>(dtype.itemsize);
  if (n * size != bytes.size())
    return fail(Code::invalid_argument,
                fmt::format("an array's shape needs {} bytes and {} are there", n * size, bytes.size()));
  return Buffer{std::move(dtype), std::move(shape), fortran, bytes};
}

Result<Dtype> parse_dtype(std::string_view descr) {
  return descr.starts_with('[') ? structure_dtype(descr) : plain_dtype(descr);
}

Result<Array> decode_buffer(std::string_view descr, std::vector<std::int64_t> shape, bool fortran,
                            std::string_view bytes) {
  MR_TRY(Dtype dtype, parse_dtype(descr));
  MR_TRY(Buffer buffer, make_buffer(std::move(dtype), std::move(shape), fortran, bytes));
  return decode(buffer);
}

Result<Array> decode(const Buffer& buffer) {
  Array a;
  a.kind = buffer.dtype.kind;
  a.itemsize = buffer.dtype.itemsize;
  a.shape = buffer.shape;
  const bool fortran = buffer.fortran;
  const std::uint64_t n = buffer.count();
  const bool swap = buffer.dtype.swap;
  const char* p = buffer.bytes.data();
  if (a.kind == 'U') {
    for (std::uint64_t i = 0; i < n; ++i, p += a.itemsize) {
      std::string s;
      for (int k = 0; k < a.itemsize; k += 4) {
        auto c = static_cast<std::uint32_t>(load<std::uint32_t>(p + k, swap));
        if (c == 0) break;
        append_utf8(s, c);
      }
      a.texts.push_back(std::move(s));
    }
    if (fortran) a.texts = to_row_major(std::move(a.texts), a.shape);
    return a;
  }
  double (*read)(const char*, bool) = nullptr;
  switch (a.kind) {
    case 'f':
      read = a.itemsize == 8 ? load<double> : a.itemsize == 4 ? load<float> : a.itemsize == 2 ? load_half : nullptr;
      break;
    case 'i':
      read = a.itemsize == 8   ? load<std::int64_t>
             : a.itemsize == 4 ? load<std::int32_t>
             : a.itemsize == 2 ? load<std::int16_t>
             : a.itemsize == 1 ? load<std::int8_t>
                               : nullptr;
      break;
    case 'u':
      read = a.itemsize == 8   ? load<std::uint64_t>
             : a.itemsize == 4 ? load<std::uint32_t>
             : a.itemsize == 2 ? load<std::uint16_t>
             : a.itemsize == 1 ? load<std::uint8_t>
                               : nullptr;
      break;
    case 'b':
      read = a.itemsize == 1 ? load<std::uint8_t> : nullptr;
      break;
    default:
      break;
  }
  if (read == nullptr) return fail(Code::invalid_argument, "an array of structures is not read here");
  a.numbers.reserve(n);
  for (std::uint64_t i = 0; i < n; ++i, p += a.itemsize) a.numbers.push_back(read(p, swap));
  if (fortran) a.numbers = to_row_major(std::move(a.numbers), a.shape);
  return a;
}

namespace {

// The dtype node of numpy.dtype(code, False, True) with state (3, order, base, names, fields, size, alignment, …).
Result<Dtype> dtype_of(const Tree& t, NodeId id, bool plain_only = false) {
  if (t.class_of(id) != "numpy.dtype") return fail(Code::invalid_argument, "an array's type is not a numpy.dtype");
  const auto& n = t.at(id);
  std::string code = n.items.empty() ? std::string() : t.text_of(n.items[0]);
  if (n.state == kNoNode || t.at(n.state).kind != NodeKind::tuple) return parse_dtype(code);
  const auto& s = t.at(n.state).items;
  if (s.size() > 1) {
    auto order = t.text_of(s[1]);
    if (order == "<" || order == ">" || order == "|" || order == "=") code = order + code;
  }
  MR_TRY(Dtype d, plain_dtype(code));
  if (d.kind != 'V') return d;
  if (plain_only || s.size() < 5 || !t.is_none(s[2]) || t.at(s[3]).kind != NodeKind::tuple ||
      t.at(s[4]).kind != NodeKind::dict)
    return unread_type(code);
  for (auto name_id : t.at(s[3]).items) {
    auto name = t.text_of(name_id);
    auto about = t.get(s[4], name);
    if (name.empty() || d.fields.size() > 100 || about == kNoNode || t.at(about).kind != NodeKind::tuple ||
        t.at(about).items.size() < 2)
      return unread_type(code);
    MR_TRY(Dtype f, dtype_of(t, t.at(about).items[0], true));
    auto offset = t.at(t.at(about).items[1]).integer;
    if (offset < 0 || offset > d.itemsize - f.itemsize) return unread_type(code);
    d.fields.push_back({std::move(name), f.kind, f.itemsize, f.swap, static_cast<std::size_t>(offset)});
  }
  return d;
}

Result<std::vector<std::int64_t>> shape_of(const Tree& t, NodeId id) {
  std::vector<std::int64_t> out;
  if (id == kNoNode) return fail(Code::invalid_argument, "an array has no shape");
  const auto& n = t.at(id);
  if (n.kind == NodeKind::integer) return std::vector<std::int64_t>{n.integer};
  if (n.kind != NodeKind::tuple) return fail(Code::invalid_argument, "an array's shape is not a tuple");
  for (auto i : n.items) {
    if (t.at(i).kind != NodeKind::integer)
      return fail(Code::invalid_argument, "an array's shape is not made of integers");
    out.push_back(t.at(i).integer);
  }
  return out;
}

Result<Array> object_array(const Tree& t, std::vector<std::int64_t> shape, const Node& list) {
  Array a;
  a.kind = 'O';
  a.shape = std::move(shape);
  MR_TRY(auto n, element_count(a.shape));
  if (n != list.items.size()) return fail(Code::invalid_argument, "an object array's shape does not fit its items");
  for (auto i : list.items) {
    const auto& item = t.at(i);
    if (item.kind != NodeKind::text)
      return fail(Code::invalid_argument, "an object array holds something else than texts");
    a.texts.push_back(item.text);
  }
  return a;
}

}  // namespace

Result<Dtype> dtype_at(const Tree& tree, NodeId id) { return dtype_of(tree, id); }

Result<Buffer> Tree::buffer_of(NodeId id) const {
  if (id == kNoNode) return fail(Code::invalid_argument, "a value is missing");
  const auto& n = at(id);
  if (n.kind == NodeKind::array && n.buffer >= 0) return buffers.at(static_cast<std::size_t>(n.buffer));
  if (n.kind != NodeKind::object) return fail(Code::invalid_argument, "a value is not an array");
  auto made_by = class_of(id);
  auto ends = [&](std::string_view s) { return made_by.ends_with(s); };
  if (ends("multiarray._reconstruct")) {
    if (n.state == kNoNode || at(n.state).kind != NodeKind::tuple || at(n.state).items.size() < 5)
      return fail(Code::invalid_argument, "an array has no content");
    const auto& s = at(n.state).items;
    MR_TRY(auto shape, shape_of(*this, s[1]));
    MR_TRY(auto dtype, dtype_of(*this, s[2]));
    const auto& data = at(s[4]);
    if (data.kind != NodeKind::bytes) return fail(Code::invalid_argument, "an array's content is not bytes");
    return make_buffer(std::move(dtype), std::move(shape), at(s[3]).integer != 0, bytes_of(data));
  }
  if (ends("numeric._frombuffer")) {
    if (n.items.size() < 4) return fail(Code::invalid_argument, "an array has no content");
    const auto& data = at(n.items[0]);
    if (data.kind != NodeKind::bytes) return fail(Code::invalid_argument, "an array's content is not bytes");
    MR_TRY(auto dtype, dtype_of(*this, n.items[1]));
    MR_TRY(auto shape, shape_of(*this, n.items[2]));
    auto order = text_of(n.items[3]);
    if (order != "C" && order != "F")
      return fail(Code::invalid_argument,
                  fmt::format("an array has the order '{}', which is not read", printable(order)));
    return make_buffer(std::move(dtype), std::move(shape), order == "F", bytes_of(data));
  }
  if (ends("multiarray.scalar")) {
    if (n.items.size() < 2) return fail(Code::invalid_argument, "a scalar has no content");
    MR_TRY(auto dtype, dtype_of(*this, n.items[0]));
    const auto& data = at(n.items[1]);
    if (data.kind != NodeKind::bytes) return fail(Code::invalid_argument, "a scalar's content is not bytes");
    return make_buffer(std::move(dtype), {}, false, bytes_of(data));
  }
  return fail(Code::invalid_argument, fmt::format("{} is not an array", printable(made_by)));
}

Result<Array> Tree::array_of(NodeId id) const {
  if (id == kNoNode) return fail(Code::invalid_argument, "a value is missing");
  const auto& n = at(id);
  // What the decoded array takes, at most: a number is widened to 8 bytes, a text becomes an object.
  auto spend = [this](std::size_t count, bool texts) {
    auto cost = count * (texts ? sizeof(std::string) : sizeof(double));
    if (cost > decode_left) return false;
    decode_left -= cost;
    decoded += cost;
    return true;
  };
  auto too_large = [] { return fail(Code::too_large, "the file's arrays are used more often than is read"); };
  Array scalar;
  switch (n.kind) {
    case NodeKind::array: {
      if (n.buffer >= 0) break;
      if (n.array < 0) return fail(Code::invalid_argument, "an object array holds something else than texts");
      const auto& a = arrays.at(static_cast<std::size_t>(n.array));
      if (!spend(a.size(), !a.texts.empty())) return too_large();
      return a;
    }
    case NodeKind::integer:
      scalar.kind = 'i';
      scalar.numbers = {static_cast<double>(n.integer)};
      return scalar;
    case NodeKind::boolean:
      scalar.kind = 'b';
      scalar.itemsize = 1;
      scalar.numbers = {static_cast<double>(n.integer)};
      return scalar;
    case NodeKind::real:
      scalar.numbers = {n.real};
      return scalar;
    case NodeKind::object:
      break;
    default:
      return fail(Code::invalid_argument, "a value is not an array");
  }
  if (class_of(id).ends_with("multiarray._reconstruct") && n.state != kNoNode && at(n.state).kind == NodeKind::tuple &&
      at(n.state).items.size() >= 5) {
    const auto& s = at(n.state).items;
    if (const auto& data = at(s[4]); data.kind == NodeKind::list) {
      if (!spend(data.items.size(), true)) return too_large();
      MR_TRY(auto shape, shape_of(*this, s[1]));
      return object_array(*this, std::move(shape), data);
    }
  }
  MR_TRY(auto buffer, buffer_of(id));
  if (!spend(buffer.count(), buffer.dtype.kind == 'U')) return too_large();
  return decode(buffer);
}

Result<std::vector<NodeId>> Tree::cells(NodeId id) const {
  if (id != kNoNode) {
    const auto& n = at(id);
    if (n.kind == NodeKind::list || n.kind == NodeKind::tuple) return n.items;
    if (n.kind == NodeKind::array && (n.array < 0 || !n.items.empty())) return n.items;
    if (class_of(id).ends_with("multiarray._reconstruct") && n.state != kNoNode) {
      const auto& s = at(n.state);
      if (s.kind == NodeKind::tuple && s.items.size() >= 5 && at(s.items[4]).kind == NodeKind::list)
        return at(s.items[4]).items;
    }
  }
  return fail(Code::invalid_argument, "a value is not a list");
}

}  // namespace mr::serving
