#include "serving/formats/skops.h"

#include <archive.h>
#include <archive_entry.h>

#include <numeric>

#include <boost/json/array.hpp>

#include "crypto/digest.h"
#include "json/parse.h"
#include "text/text.h"

namespace mr::serving {

namespace js = boost::json;

namespace {

std::unexpected<Error> damaged_skops(std::string what) {
  return fail(Code::invalid_argument, "the skops file is damaged: " + std::move(what));
}

// The members of a zip archive: what is stored as it is lies in the archive's bytes, which must outlive this.
struct Members {
  std::map<std::string, std::string_view> all;
  std::vector<std::string> unpacked;
};

std::size_t bytes_of(const Members& members) {
  return std::accumulate(members.all.begin(), members.all.end(), std::size_t{0},
                         [](std::size_t sum, const auto& m) { return sum + m.second.size(); });
}

std::uint32_t little(std::string_view b, std::size_t at, int size) {
  std::uint32_t v = 0;
  for (int i = 0; i < size; ++i)
    v |= static_cast<std::uint32_t>(static_cast<unsigned char>(b[at + static_cast<std::size_t>(i)])) << (8 * i);
  return v;
}

// An archive whose members are all stored, as skops writes them, read without a copy. Nullopt: it is another, or it is
// not as it should be; the library then says what it is.
std::optional<Members> stored_members(std::string_view b) {
  constexpr std::size_t kEnd = 22, kEntry = 46, kLocal = 30;
  if (b.size() < kEnd) return std::nullopt;
  const auto from = b.size() > kEnd + 65535 ? b.size() - kEnd - 65535 : 0;
  const auto end = b.rfind(std::string_view("PK\5\6", 4), b.size() - kEnd);
  if (end == std::string_view::npos || end < from) return std::nullopt;
  const std::size_t count = little(b, end + 10, 2);
  std::size_t at = little(b, end + 16, 4);
  if (count == 0 || count == 0xFFFF || little(b, end + 4, 4) != 0 || little(b, end + 8, 2) != count)
    return std::nullopt;
  Members out;
  std::size_t total = 0;
  for (std::size_t i = 0; i < count; ++i) {
    if (at > end || end - at < kEntry || !b.substr(at).starts_with(std::string_view("PK\1\2", 4))) return std::nullopt;
    const std::size_t size = little(b, at + 24, 4);
    const std::size_t name = little(b, at + 28, 2);
    const std::size_t local = little(b, at + 42, 4);
    const bool stored = little(b, at + 10, 2) == 0 && little(b, at + 20, 4) == size && (little(b, at + 8, 2) & 1) == 0;
    if (!stored || size == UINT32_MAX || end - at - kEntry < name || local > end || end - local < kLocal ||
        !b.substr(local).starts_with(std::string_view("PK\3\4", 4)))
      return std::nullopt;
    const auto named = b.substr(at + kEntry, name);
    const auto begin = local + kLocal + little(b, local + 26, 2) + little(b, local + 28, 2);
    if (begin > end || end - begin < size || b.substr(local + kLocal, name) != named) return std::nullopt;
    const auto content = b.substr(begin, size);
    total += size;
    // Members that overlap, or are there twice, are for the library to judge.
    if (total > b.size() || crypto::crc32(0, content) != little(b, at + 16, 4) ||
        !out.all.emplace(std::string(named), content).second)
      return std::nullopt;
    at += kEntry + name + little(b, at + 30, 2) + little(b, at + 32, 2);
  }
  return out;
}

Result<Members> unzip(std::string_view bytes, const ReadLimits& limits) {
  if (bytes.size() > limits.max_bytes)
    return fail(Code::too_large, fmt::format("the file is larger than {} MiB", limits.max_bytes >> 20));
  if (auto stored = stored_members(bytes)) return std::move(*stored);
  const std::size_t limit = limits.unpacked(bytes.size());
  struct Closer {
    archive* a = archive_read_new();
    ~Closer() { archive_read_free(a); }
  } c;
  archive_read_support_format_zip_seekable(c.a);
  if (archive_read_open_memory(c.a, bytes.data(), bytes.size()) != ARCHIVE_OK)
    return damaged_skops("it is no zip archive");
  std::map<std::string, std::string> out;
  std::size_t total = 0;
  std::size_t reserved = 0;
  std::vector<char> buf(65536);
  for (;;) {
    archive_entry* e = nullptr;
    int r = archive_read_next_header(c.a, &e);
    if (r == ARCHIVE_EOF) break;
    if (r != ARCHIVE_OK) return damaged_skops("its zip directory cannot be read");
    const char* name = archive_entry_pathname(e);
    if (name == nullptr) return damaged_skops("a member has no name");
    if (out.size() > 100000) return damaged_skops("it has too many members");
    auto& data = out[name];
    data.clear();
    // What the directory says is only a hint.
    if (auto size = static_cast<std::size_t>(std::max<la_int64_t>(0, archive_entry_size(e)));
        size <= bytes.size() && reserved <= bytes.size()) {
      reserved += size;
      data.reserve(size);
    }
    for (;;) {
      auto n = archive_read_data(c.a, buf.data(), buf.size());
      if (n < 0) return damaged_skops(fmt::format("the member '{}' cannot be read", printable(name)));
      if (n == 0) break;
      total += static_cast<std::size_t>(n);
      if (total > limit)
        return fail(Code::too_large, fmt::format("the file is larger than {} MiB when unpacked", limit >> 20));
      data.append(buf.data(), static_cast<std::size_t>(n));
    }
  }
  if (out.empty()) return damaged_skops("it is no zip archive");
  Members found;
  found.unpacked.reserve(out.size());
  for (auto& [name, content] : out) {
    found.unpacked.push_back(std::move(content));
    found.all.emplace(name, found.unpacked.back());
  }
  return found;
}

class SkopsReader {
 public:
  SkopsReader(Tree& t, const Members& members, const ReadLimits& limits, std::size_t file_size)
      : t_(t), members_(members), limits_(limits), max_nodes_(limits.nodes(file_size)) {}

  Result<NodeId> node(const js::value& v, int depth) {
    if (depth > 100) return damaged_skops("values are nested too deep");
    if (t_.nodes.size() > max_nodes_) return fail(Code::too_large, "the file has more values than are read");
    if (!v.is_object()) return damaged_skops("a node is no object");
    std::string loader(json::string_or_empty(v, "__loader__"));
    std::string module(json::string_or_empty(v, "__module__"));
    std::string cls(json::string_or_empty(v, "__class__"));
    std::int64_t id = -1;
    if (const auto* n = json::find(v, "__id__"); n != nullptr && n->is_int64()) id = n->get_int64();
    if (loader == "CachedNode") {
      auto it = seen_.find(id);
      if (it == seen_.end()) return damaged_skops("it names a value that it has not stored");
      return it->second;
    }
    MR_TRY(NodeId made, make(v, loader, module, cls, depth));
    if (id >= 0) seen_[id] = made;
    return made;
  }

 private:
  NodeId symbol(const std::string& module, const std::string& cls) {
    Node n;
    n.kind = NodeKind::symbol;
    n.text = module + "." + cls;
    return t_.add(std::move(n));
  }

  Result<NodeId> items(const js::value& v, NodeKind kind, int depth) {
    Node n;
    n.kind = kind;
    const auto* content = json::find(v, "content");
    if (content == nullptr || !content->is_array()) return damaged_skops("a list has no content");
    for (const auto& e : content->get_array()) {
      MR_TRY(NodeId item, node(e, depth + 1));
      n.items.push_back(item);
    }
    return t_.add(std::move(n));
  }

  // A defaultdict keeps its items under "main"; what it would make of an absent key does not matter here.
  Result<NodeId> dict_of_its_kind(const js::value& v, const std::string& module, const std::string& cls, int depth) {
    MR_CHECK(check_symbol(module, cls));
    const auto* content = json::find(v, "content");
    const auto* main = content == nullptr ? nullptr : json::find(*content, "main");
    return main == nullptr ? dict(v, depth) : node(*main, depth + 1);
  }

  Result<NodeId> dict(const js::value& v, int depth) {
    Node n;
    n.kind = NodeKind::dict;
    const auto* content = json::find(v, "content");
    if (content == nullptr || !content->is_object()) return damaged_skops("a dict has no content");
    if (const auto* types = json::find(v, "key_types")) {
      MR_TRY(NodeId ignored, node(*types, depth + 1));  // checked like everything else
      (void)ignored;
    }
    for (const auto& [key, value] : content->get_object()) {
      Node k;
      k.kind = NodeKind::text;
      k.text = key;
      n.items.push_back(t_.add(std::move(k)));
      MR_TRY(NodeId item, node(value, depth + 1));
      n.items.push_back(item);
    }
    return t_.add(std::move(n));
  }

  NodeId from_json(const js::value& j) {
    Node n;
    if (j.is_string()) {
      n.kind = NodeKind::text;
      n.text = j.get_string();
    } else if (j.is_bool()) {
      n.kind = NodeKind::boolean;
      n.integer = j.get_bool() ? 1 : 0;
    } else if (j.is_int64()) {
      n.kind = NodeKind::integer;
      n.integer = j.get_int64();
    } else if (j.is_uint64()) {
      n.kind = NodeKind::integer;
      n.integer = INT64_MAX;
    } else if (j.is_double()) {
      n.kind = NodeKind::real;
      n.real = j.get_double();
    } else if (j.is_array()) {
      n.kind = NodeKind::list;
      for (const auto& e : j.get_array())
        if (!e.is_array() && !e.is_object()) n.items.push_back(from_json(e));
    }
    return t_.add(std::move(n));
  }

  Result<NodeId> array(const js::value& v, int depth) {
    Node n;
    n.kind = NodeKind::array;
    Array a;
    auto type = json::string_or_empty(v, "type");
    if (type == "numpy") {
      std::string file(json::string_or_empty(v, "file"));
      auto it = members_.all.find(file);
      if (it == members_.all.end()) return damaged_skops("an array's file is missing");
      if (auto known = by_file_.find(file); known != by_file_.end()) {  // several attributes may name one file
        n.buffer = known->second;
        return t_.add(std::move(n));
      }
      MR_TRY(Buffer buffer, npy_buffer(it->second));
      n.buffer = by_file_[file] = static_cast<std::int32_t>(t_.buffers.size());
      t_.buffers.push_back(std::move(buffer));
      return t_.add(std::move(n));
    } else if (type == "json") {
      a.kind = 'O';
      const auto* content = json::find(v, "content");
      if (content == nullptr || !content->is_array()) return damaged_skops("an array has no content");
      std::vector<const js::value*> cells;
      for (const auto& e : content->get_array()) cells.push_back(&e);
      // An array of several dimensions is lists of lists.
      std::size_t dimensions = 1;
      if (const auto* shape = json::find(v, "shape"))
        if (const auto* sizes = json::find(*shape, "content"); sizes != nullptr && sizes->is_array())
          dimensions = sizes->get_array().size();
      for (; dimensions > 1; --dimensions) {
        std::vector<const js::value*> inner;
        for (const auto* list : cells) {
          const auto* items = list->is_object() ? json::find(*list, "content") : nullptr;
          if (json::string_or_empty(*list, "__loader__") != "ListNode" || items == nullptr || !items->is_array())
            return damaged_skops("an array's content does not fit its shape");
          for (const auto& e : items->get_array()) inner.push_back(&e);
        }
        cells = std::move(inner);
      }
      for (const auto* e : cells) {
        MR_TRY(NodeId item, node(*e, depth + 1));
        n.items.push_back(item);
        if (t_.at(item).kind != NodeKind::text) continue;
        t_.copied_bytes += t_.at(item).text.size();
        if (t_.copied_bytes > limits_.max_bytes) return fail(Code::too_large, "the file has more bytes than are read");
        a.texts.push_back(t_.at(item).text);
      }
      a.shape = {static_cast<std::int64_t>(a.texts.size())};
      if (a.texts.size() != n.items.size()) return t_.add(std::move(n));  // categories with None, estimators
      n.items.clear();
    } else {
      return damaged_skops("an array has an unknown form");
    }
    n.array = static_cast<std::int32_t>(t_.arrays.size());
    t_.arrays.push_back(std::move(a));
    return t_.add(std::move(n));
  }

  // A scipy matrix: an .npz, which is a zip of .npy files, among the members.
  Result<NodeId> sparse(const js::value& v, const std::string& module, const std::string& cls) {
    MR_CHECK(check_symbol(module, cls));
    auto it = members_.all.find(std::string(json::string_or_empty(v, "file")));
    if (it == members_.all.end()) return damaged_skops("a matrix's file is missing");
    if (++matrices_ > 1000) return fail(Code::too_large, "the file has more matrices than are read");
    // All matrices together unpack to no more than one file may.
    ReadLimits left = limits_;
    left.max_bytes = budget_ - std::min(budget_, unpacked_);
    if (it->second.size() > left.max_bytes)
      return fail(Code::too_large, "the file's matrices unpack to more bytes than are read");
    MR_TRY(auto unzipped, unzip(it->second, left));
    unpacked_ += bytes_of(unzipped);
    auto owner = std::make_shared<const Members>(std::move(unzipped));
    t_.owners.push_back(owner);
    Node dict;
    dict.kind = NodeKind::dict;
    for (const auto& [name, bytes] : owner->all) {
      auto buffer = npy_buffer(bytes);
      if (!buffer) continue;  // its format, a text of bytes
      Node key;
      key.kind = NodeKind::text;
      key.text = name.substr(0, name.rfind('.'));
      Node value;
      value.kind = NodeKind::array;
      value.buffer = static_cast<std::int32_t>(t_.buffers.size());
      t_.buffers.push_back(std::move(*buffer));
      dict.items.push_back(t_.add(std::move(key)));
      dict.items.push_back(t_.add(std::move(value)));
    }
    Node n;
    n.kind = NodeKind::object;
    n.callee = symbol(module, cls);
    n.state = t_.add(std::move(dict));
    return t_.add(std::move(n));
  }

  // An array of which some values do not count: no engine reads it, but its parts may be named again.
  Result<NodeId> masked(const js::value& v, const std::string& module, const std::string& cls, int depth) {
    MR_CHECK(check_symbol(module, cls));
    Node n;
    n.kind = NodeKind::object;
    n.callee = symbol(module, cls);
    if (const auto* content = json::find(v, "content"); content != nullptr && content->is_object())
      for (const auto& part : content->get_object()) {
        MR_TRY(NodeId item, node(part.value(), depth + 1));
        n.items.push_back(item);
      }
    return t_.add(std::move(n));
  }

  // slice(start, stop, step), of plain JSON values.
  Result<NodeId> slice(const js::value& v) {
    Node n;
    n.kind = NodeKind::object;
    n.callee = symbol("builtins", "slice");
    const auto* content = json::find(v, "content");
    if (content == nullptr || !content->is_object()) return damaged_skops("a slice has no content");
    for (const auto* part : {"start", "stop", "step"}) {
      const auto* value = json::find(*content, part);
      n.items.push_back(from_json(value != nullptr ? *value : js::value()));
    }
    return t_.add(std::move(n));
  }

  // numpy.dtype(code): the file holds an empty array of the type.
  Result<NodeId> dtype(const js::value& v, int depth) {
    const auto* content = json::find(v, "content");
    if (content == nullptr) return damaged_skops("a type has no content");
    MR_TRY(NodeId empty, node(*content, depth + 1));
    Node code;
    code.kind = NodeKind::text;
    code.text = "O8";
    if (auto b = t_.buffer_of(empty)) code.text = fmt::format("{}{}", b->dtype.kind, b->dtype.itemsize);
    Node n;
    n.kind = NodeKind::object;
    n.callee = symbol("numpy", "dtype");
    n.items.push_back(t_.add(std::move(code)));
    return t_.add(std::move(n));
  }

  Result<NodeId> make(const js::value& v, const std::string& loader, const std::string& module, const std::string& cls,
                      int depth) {
    if (loader == "JsonNode") {
      auto text = json::string_or_empty(v, "content");
      auto j = json::parse(text);
      if (!j) return damaged_skops("a value is no JSON");
      if (j->is_string() && (*j == "NaN" || *j == "Infinity" || *j == "-Infinity") && !text.starts_with('"')) {
        Node n;
        n.kind = NodeKind::real;
        n.real = *j == "NaN" ? std::nan("") : *j == "Infinity" ? INFINITY : -INFINITY;
        return t_.add(std::move(n));
      }
      return from_json(*j);
    }
    if (loader == "DefaultDictNode" || loader == "OrderedDictNode") return dict_of_its_kind(v, module, cls, depth);
    if (loader == "SparseMatrixNode") return sparse(v, module, cls);
    if (loader == "MaskedArrayNode") return masked(v, module, cls, depth);
    if (loader == "SliceNode") return slice(v);
    if (loader == "DTypeNode") return dtype(v, depth);
    if (loader != "ListNode" && loader != "TupleNode" && loader != "DictNode" && loader != "ObjectNode" &&
        loader != "NdArrayNode" && loader != "TypeNode" && loader != "LossNode" && loader != "SGDNode" &&
        loader != "RandomStateNode" && loader != "RandomGeneratorNode" && loader != "SetNode" &&
        loader != "BytesNode" && loader != "BytearrayNode" && loader != "TreeNode" && loader != "PartialNode" &&
        loader != "FunctionNode") {
      // The name of what is in the way says more than the loader's; both are given.
      return fail(
          Code::invalid_argument,
          fmt::format("'{}.{}' ({}) is not read natively", printable(module), printable(cls), printable(loader)),
          "symbol", module + "." + cls);
    }
    if (loader == "FunctionNode") {
      MR_CHECK(check_symbol(module, cls));
      return symbol(module, cls);
    }
    if (loader == "TypeNode") {
      static const std::set<std::string> plain{"builtins.str", "builtins.int", "builtins.float", "builtins.bool",
                                               "builtins.NoneType"};
      if (!plain.contains(module + "." + cls)) MR_CHECK(check_symbol(module, cls));
      return symbol(module, cls);
    }
    if (loader == "NdArrayNode") {
      if (module != "numpy")
        return fail(Code::invalid_argument,
                    fmt::format("'{}.{}' is not read natively", printable(module), printable(cls)), "symbol",
                    module + "." + cls);
      return array(v, depth);
    }
    if (loader == "ListNode" || loader == "TupleNode" || loader == "SetNode" || loader == "DictNode") {
      const bool bunch =
          loader == "DictNode" && cls == "Bunch" && check_symbol(module, cls);  // a dict of scikit-learn's
      if (module != "builtins" && module != "collections" && !bunch)
        return fail(Code::invalid_argument,
                    fmt::format("'{}.{}' is not read natively", printable(module), printable(cls)), "symbol",
                    module + "." + cls);
      if (loader == "DictNode") return dict(v, depth);
      return items(v, loader == "TupleNode" ? NodeKind::tuple : NodeKind::list, depth);
    }
    if (loader == "RandomStateNode" || loader == "RandomGeneratorNode") {
      bool known = module.starts_with("numpy.random");
      if (!known)
        return fail(Code::invalid_argument,
                    fmt::format("'{}.{}' is not read natively", printable(module), printable(cls)), "symbol",
                    module + "." + cls);
    } else if (loader != "BytesNode" && loader != "BytearrayNode") {
      MR_CHECK(check_symbol(module, cls));
    }
    Node n;
    n.kind = NodeKind::object;
    n.callee = symbol(module, cls);
    if (const auto* reduce = json::find(v, "__reduce__"); reduce != nullptr) {
      if (const auto* args = json::find(*reduce, "args")) {
        MR_TRY(NodeId a, node(*args, depth + 1));
        t_.copied_items += t_.at(a).items.size();
        if (t_.copied_items > max_nodes_) return fail(Code::too_large, "the file has more values than are read");
        n.items = t_.at(a).items;
      }
    }
    // What a partial calls must be known, too.
    if (const auto* content = json::find(v, "content"); content != nullptr && loader == "PartialNode")
      if (const auto* func = json::find(*content, "func"); func != nullptr) {
        MR_TRY(NodeId called, node(*func, depth + 1));
        n.items.push_back(called);
      }
    const auto* content = json::find(v, "content");
    if (loader == "PartialNode") {
      // Its function must be a known one; what it binds beside that is no node, and no engine needs it.
      const auto* function = content == nullptr ? nullptr : json::find(*content, "func");
      if (function == nullptr) return damaged_skops("a partial has no function");
      MR_TRY(NodeId f, node(*function, depth + 1));
      n.items.assign(1, f);
      return t_.add(std::move(n));
    }
    // The state of a generator is no node either.
    if (content != nullptr && content->is_object() && loader != "RandomGeneratorNode") {
      MR_TRY(n.state, node(*content, depth + 1));
    }
    return t_.add(std::move(n));
  }

  Tree& t_;
  const Members& members_;
  const ReadLimits& limits_;
  std::size_t max_nodes_;
  int matrices_ = 0;
  std::size_t budget_ = limits_.unpacked(bytes_of(members_));  // what matrices may unpack to
  std::size_t unpacked_ = 0;
  std::unordered_map<std::int64_t, NodeId> seen_;
  std::map<std::string, std::int32_t> by_file_;
};

}  // namespace

Result<Buffer> npy_buffer(std::string_view b) {
  auto bad = [] { return fail(Code::invalid_argument, "an array's .npy file is damaged"); };
  if (b.size() < 10 || !b.starts_with("\x93NUMPY")) return bad();
  auto major = static_cast<unsigned char>(b[6]);
  std::size_t header = static_cast<unsigned char>(b[8]) | static_cast<std::size_t>(static_cast<unsigned char>(b[9]))
                                                              << 8;
  std::size_t at = 10;
  if (major >= 2) {
    if (b.size() < 12) return bad();
    header |= static_cast<std::size_t>(static_cast<unsigned char>(b[10])) << 16 |
              static_cast<std::size_t>(static_cast<unsigned char>(b[11])) << 24;
    at = 12;
  }
  if (header > 65536 || b.size() < at + header) return bad();
  auto text = b.substr(at, header);
  auto after = [&](std::string_view key) {
    auto p = text.find(key);
    return p == std::string_view::npos ? std::string_view{} : text::trim(text.substr(p + key.size()));
  };
  auto descr = after("'descr':");
  auto order = after("'fortran_order':");
  auto shape_text = after("'shape':");
  if (order.empty() || !shape_text.starts_with('(')) return bad();
  if (descr.starts_with('[')) {  // a structure
    descr = descr.substr(0, descr.find(']') + 1);
  } else {
    if (!descr.starts_with('\'')) return bad();
    descr.remove_prefix(1);
    descr = descr.substr(0, descr.find('\''));
  }
  shape_text = shape_text.substr(1, shape_text.find(')') - 1);
  std::vector<std::int64_t> shape;
  for (auto part : text::split(shape_text, ',')) {
    part = text::trim(part);
    if (part.empty()) continue;
    auto d = text::to_i64(part);
    if (!d) return bad();
    shape.push_back(*d);
  }
  MR_TRY(Dtype dtype, parse_dtype(descr));
  return make_buffer(std::move(dtype), std::move(shape), order.starts_with("True"), b.substr(at + header));
}

Result<Array> read_npy(std::string_view bytes) {
  MR_TRY(Buffer buffer, npy_buffer(bytes));
  return decode(buffer);
}

Result<Tree> read_skops(std::string_view bytes, const ReadLimits& limits) {
  auto copy = std::make_shared<const std::string>(bytes);
  return read_skops(Source{copy, *copy}, limits);
}

Result<Tree> read_skops(Source source, const ReadLimits& limits) {
  const auto bytes = source.bytes;
  MR_TRY(auto unzipped, unzip(bytes, limits));
  auto owner = std::make_shared<const Members>(std::move(unzipped));
  const auto& members = *owner;
  auto schema = members.all.find("schema.json");
  if (schema == members.all.end()) return damaged_skops("schema.json is missing");
  auto doc = json::parse(schema->second, 512);
  if (!doc) return damaged_skops("schema.json is no JSON, or is nested too deep");
  Tree t;
  t.owners.push_back(source.owner);
  t.owners.push_back(owner);
  t.decode_left = std::size_t{64} << 20;
  for (const auto& [name, content] : members.all) t.decode_left += 16 * content.size();
  SkopsReader r(t, members, limits, bytes.size());
  MR_TRY(t.root, r.node(*doc, 0));
  return t;
}

}  // namespace mr::serving
