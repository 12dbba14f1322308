#include "serving/formats/skops.h"

#include <archive.h>
#include <archive_entry.h>

#include <boost/json/array.hpp>

#include "json/parse.h"
#include "text/text.h"

namespace mr::serving {

namespace js = boost::json;

namespace {

std::unexpected<Error> damaged(std::string what) {
  return fail(Code::invalid_argument, "the skops file is damaged: " + std::move(what));
}

Result<std::map<std::string, std::string>> unzip(std::string_view bytes, std::size_t limit) {
  if (bytes.size() > limit) return fail(Code::too_large, fmt::format("the file is larger than {} MiB", limit >> 20));
  struct Closer {
    archive* a = archive_read_new();
    ~Closer() { archive_read_free(a); }
  } c;
  archive_read_support_format_zip_seekable(c.a);
  if (archive_read_open_memory(c.a, bytes.data(), bytes.size()) != ARCHIVE_OK) return damaged("it is no zip archive");
  std::map<std::string, std::string> out;
  std::size_t total = 0;
  std::vector<char> buf(65536);
  for (;;) {
    archive_entry* e = nullptr;
    int r = archive_read_next_header(c.a, &e);
    if (r == ARCHIVE_EOF) break;
    if (r != ARCHIVE_OK) return damaged("its zip directory cannot be read");
    const char* name = archive_entry_pathname(e);
    if (name == nullptr) return damaged("a member has no name");
    if (out.size() > 100000) return damaged("it has too many members");
    auto& data = out[name];
    data.clear();
    for (;;) {
      auto n = archive_read_data(c.a, buf.data(), buf.size());
      if (n < 0) return damaged(fmt::format("the member '{}' cannot be read", printable(name)));
      if (n == 0) break;
      total += static_cast<std::size_t>(n);
      if (total > limit)
        return fail(Code::too_large, fmt::format("the file is larger than {} MiB when unpacked", limit >> 20));
      data.append(buf.data(), static_cast<std::size_t>(n));
    }
  }
  if (out.empty()) return damaged("it is no zip archive");
  return out;
}

class Reader {
 public:
  Reader(Tree& t, const std::map<std::string, std::string>& members, const ReadLimits& limits)
      : t_(t), members_(members), limits_(limits) {}

  Result<NodeId> node(const js::value& v, int depth) {
    if (depth > 100) return damaged("values are nested too deep");
    if (t_.nodes.size() > limits_.max_nodes) return fail(Code::too_large, "the file has more values than are read");
    if (!v.is_object()) return damaged("a node is no object");
    std::string loader(json::string_or_empty(v, "__loader__"));
    std::string module(json::string_or_empty(v, "__module__"));
    std::string cls(json::string_or_empty(v, "__class__"));
    std::int64_t id = -1;
    if (const auto* n = json::find(v, "__id__"); n != nullptr && n->is_int64()) id = n->get_int64();
    if (loader == "CachedNode") {
      auto it = seen_.find(id);
      if (it == seen_.end()) return damaged("it names a value that it has not stored");
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
    if (content == nullptr || !content->is_array()) return damaged("a list has no content");
    for (const auto& e : content->get_array()) {
      MR_TRY(NodeId item, node(e, depth + 1));
      n.items.push_back(item);
    }
    return t_.add(std::move(n));
  }

  Result<NodeId> dict(const js::value& v, int depth) {
    Node n;
    n.kind = NodeKind::dict;
    const auto* content = json::find(v, "content");
    if (content == nullptr || !content->is_object()) return damaged("a dict has no content");
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
      auto it = members_.find(file);
      if (it == members_.end()) return damaged("an array's file is missing");
      if (auto known = by_file_.find(file); known != by_file_.end()) {  // several attributes may name one file
        n.array = known->second;
        return t_.add(std::move(n));
      }
      MR_TRY(a, read_npy(it->second));
      by_file_[file] = static_cast<std::int32_t>(t_.arrays.size());
    } else if (type == "json") {
      a.kind = 'O';
      const auto* content = json::find(v, "content");
      if (content == nullptr || !content->is_array()) return damaged("an array has no content");
      for (const auto& e : content->get_array()) {
        MR_TRY(NodeId item, node(e, depth + 1));
        if (t_.at(item).kind != NodeKind::text)
          return fail(Code::invalid_argument, "an object array holds something else than texts");
        t_.copied_bytes += t_.at(item).text.size();
        if (t_.copied_bytes > limits_.max_bytes) return fail(Code::too_large, "the file has more bytes than are read");
        a.texts.push_back(t_.at(item).text);
      }
      a.shape = {static_cast<std::int64_t>(a.texts.size())};
    } else {
      return damaged("an array has an unknown form");
    }
    n.array = static_cast<std::int32_t>(t_.arrays.size());
    t_.arrays.push_back(std::move(a));
    return t_.add(std::move(n));
  }

  Result<NodeId> make(const js::value& v, const std::string& loader, const std::string& module, const std::string& cls,
                      int depth) {
    if (loader == "JsonNode") {
      auto text = json::string_or_empty(v, "content");
      auto j = json::parse(text);
      if (!j) return damaged("a value is no JSON");
      if (j->is_string() && (*j == "NaN" || *j == "Infinity" || *j == "-Infinity") && !text.starts_with('"')) {
        Node n;
        n.kind = NodeKind::real;
        n.real = *j == "NaN" ? std::nan("") : *j == "Infinity" ? INFINITY : -INFINITY;
        return t_.add(std::move(n));
      }
      return from_json(*j);
    }
    if (loader != "ListNode" && loader != "TupleNode" && loader != "DictNode" && loader != "ObjectNode" &&
        loader != "NdArrayNode" && loader != "TypeNode" && loader != "LossNode" && loader != "SGDNode" &&
        loader != "RandomStateNode" && loader != "RandomGeneratorNode" && loader != "SetNode" &&
        loader != "BytesNode" && loader != "BytearrayNode") {
      // The name of what is in the way says more than the loader's; both are given.
      return fail(
          Code::invalid_argument,
          fmt::format("'{}.{}' ({}) is not read natively", printable(module), printable(cls), printable(loader)),
          "symbol", module + "." + cls);
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
      if (module != "builtins" && module != "collections")
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
        if (t_.copied_items > limits_.max_nodes) return fail(Code::too_large, "the file has more values than are read");
        n.items = t_.at(a).items;
      }
    }
    if (const auto* content = json::find(v, "content"); content != nullptr && content->is_object()) {
      MR_TRY(n.state, node(*content, depth + 1));
    }
    return t_.add(std::move(n));
  }

  Tree& t_;
  const std::map<std::string, std::string>& members_;
  const ReadLimits& limits_;
  std::unordered_map<std::int64_t, NodeId> seen_;
  std::map<std::string, std::int32_t> by_file_;
};

}  // namespace

Result<Array> read_npy(std::string_view b) {
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
  if (!descr.starts_with('\'') || order.empty() || !shape_text.starts_with('(')) return bad();
  descr.remove_prefix(1);
  descr = descr.substr(0, descr.find('\''));
  shape_text = shape_text.substr(1, shape_text.find(')') - 1);
  std::vector<std::int64_t> shape;
  for (auto part : text::split(shape_text, ',')) {
    part = text::trim(part);
    if (part.empty()) continue;
    auto d = text::to_i64(part);
    if (!d) return bad();
    shape.push_back(*d);
  }
  return decode_buffer(descr, std::move(shape), order.starts_with("True"), b.substr(at + header));
}

Result<Tree> read_skops(std::string_view bytes, const ReadLimits& limits) {
  MR_TRY(auto members, unzip(bytes, limits.max_bytes));
  auto schema = members.find("schema.json");
  if (schema == members.end()) return damaged("schema.json is missing");
  auto doc = json::parse(schema->second, 512);
  if (!doc) return damaged("schema.json is no JSON, or is nested too deep");
  Tree t;
  Reader r(t, members, limits);
  MR_TRY(t.root, r.node(*doc, 0));
  return t;
}

}  // namespace mr::serving
