#include "serving/python/wire.h"

#include <cmath>
#include <cstring>

#include "json/parse.h"
#include "json/writer.h"
#include "serving/parts.h"
#include "text/text.h"

namespace mr::serving::python {

namespace {

constexpr std::string_view kMagic = "MRW1";
constexpr std::size_t kMaxHeader = 16U << 20;
constexpr std::size_t kMaxPayload = std::size_t{4} << 30;
constexpr std::size_t kMaxArrays = 100000;

std::unexpected<Error> garbled(std::string_view what) {
  return fail(Code::data_loss, fmt::format("the worker's message cannot be read: {}", what));
}

template <class T>
void append_raw(std::string& out, const T* values, std::size_t n) {
  out.append(reinterpret_cast<const char*>(values), n * sizeof(T));
}

std::string_view numpy_type(DataType t) {
  static constexpr std::string_view names[] = {"bool",  "uint8", "uint16",  "uint32",  "uint64",  "int8",  "int16",
                                               "int32", "int64", "float16", "float32", "float64", "string"};
  return names[static_cast<std::size_t>(t)];
}

Block column_block(const Frame& f, std::size_t c, bool text) {
  Block b;
  b.text = text;
  if (text) {
    if (auto it = f.texts.find(c); it != f.texts.end()) {
      b.texts = it->second;
      b.texts.missing.resize(f.rows);
    } else {  // no value at all: an optional column that the request leaves out
      b.texts.values.resize(f.rows);
      b.texts.missing.assign(f.rows, 1);
    }
    return b;
  }
  b.numbers.resize(f.rows);
  for (std::size_t r = 0; r < f.rows; ++r) b.numbers[r] = f.data[r * f.columns + c];
  return b;
}

bool all_missing(const Frame& f, std::size_t c) {
  for (std::size_t r = 0; r < f.rows; ++r)
    if (!std::isnan(f.data[r * f.columns + c])) return false;
  return true;
}

void describe_tensor(Call& call, std::string_view name, std::string_view type, bool text,
                     const std::vector<std::int64_t>& shape) {
  std::string head = R"({"name":)";
  json::append_string(head, name);
  head += R"(,"type":)";
  json::append_string(head, type);
  head += fmt::format(R"(,"enc":"{}","shape":[)", text ? "text" : "f8");
  std::string tail;
  for (std::size_t i = 1; i < shape.size(); ++i) tail += fmt::format(",{}", shape[i]);
  tail += "]}";
  call.schema += head + tail;
  call.described.push_back(std::move(head));
  call.tails.push_back(std::move(tail));
}

// Several named tensors; requests are joined when all have as many rows.
Result<Call> tensors_call(const Frame& f, const Signature& s, std::string schema) {
  if (f.tensors.size() != s.tensors.size())
    return fail(Code::invalid_argument,
                fmt::format("the model takes {} named tensors, which the V2 protocol can send", s.tensors.size()));
  Call call;
  call.tensor = true;
  call.rows = f.rows;
  call.prefix = std::move(schema) + R"("kind":"tensors",)";
  call.schema = call.prefix;
  for (std::size_t i = 0; i < f.tensors.size(); ++i) {
    const auto& t = f.tensors[i];
    if (t.shape.empty() || t.shape[0] != static_cast<std::int64_t>(f.rows))
      return fail(Code::invalid_argument, fmt::format("the tensor '{}' has not as many rows as '{}'",
                                                      printable(s.tensors[i].name), printable(s.tensors[0].name)));
    Block b;
    b.text = s.tensors[i].type == DataType::bytes;
    b.numbers = t.data;
    b.texts = t.texts;
    describe_tensor(call, s.tensors[i].name, s.tensors[i].dtype, b.text, t.shape);
    call.blocks.push_back(std::move(b));
  }
  return call;
}

Result<Call> tensor_call(const Frame& f, const Signature& s, std::string schema) {
  Call call;
  call.tensor = true;
  call.rows = f.rows;
  bool named = s.tensor && !s.tensor_name.empty();
  call.prefix = std::move(schema) + (named ? R"("kind":"tensors",)" : R"("kind":"tensor",)");
  call.schema = call.prefix;
  Block b;
  b.text = !f.texts.empty();
  if (b.text) {
    // Texts of a table of texts, row by row.
    for (std::size_t c = 0; c < f.columns; ++c)
      if (!f.texts.contains(c))
        return fail(Code::invalid_argument, fmt::format("#{} is a column of numbers among columns of texts", c));
    for (std::size_t r = 0; r < f.rows; ++r)
      for (const auto& [c, column] : f.texts) {
        b.texts.values.push_back(column.values[r]);
        b.texts.missing.push_back(r < column.missing.size() ? column.missing[r] : 0);
      }
  } else {
    b.numbers = f.data;
  }
  auto shape = f.shape;
  if (shape.empty()) shape = {static_cast<std::int64_t>(f.rows), static_cast<std::int64_t>(f.columns)};
  if (s.tensor && s.tensor_shape.size() == 1 && shape.size() == 2 && shape[1] == 1) shape.pop_back();
  std::string_view type = s.tensor           ? std::string_view(s.tensor_dtype)
                          : !f.types.empty() ? numpy_type(f.types[0])
                          : f.f32            ? "float32"
                                             : "float64";
  describe_tensor(call, s.tensor_name, type, b.text, shape);
  call.blocks.push_back(std::move(b));
  return call;
}

}  // namespace

Result<Head> read_head(std::string_view bytes) {
  if (bytes.size() != kHeadBytes || !bytes.starts_with(kMagic)) return garbled("it does not begin as one");
  std::uint32_t header = 0;
  std::uint64_t payload = 0;
  std::memcpy(&header, bytes.data() + 4, sizeof header);
  std::memcpy(&payload, bytes.data() + 8, sizeof payload);
  if (header > kMaxHeader || payload > kMaxPayload) return garbled("it announces more bytes than are taken");
  return Head{header, payload};
}

Result<Call> make_call(const Frame& f, const Signature& s) {
  std::string schema;
  if (!f.params.empty()) schema = R"("params":)" + f.params + ",";
  if (f.sparse) return fail(Code::invalid_argument, "a sparse frame cannot be sent to a Python worker");
  if (f.rows > 0 && f.columns > 0 && f.texts.size() < f.columns && f.data.size() != f.rows * f.columns)
    return fail(Code::internal, "a frame without its data");
  if (!s.tensors.empty() || !f.tensors.empty()) return tensors_call(f, s, std::move(schema));
  if (s.tensor || (s.columns.empty() && f.names.empty())) return tensor_call(f, s, std::move(schema));
  if (!s.columns.empty() && f.columns != s.columns.size())
    return fail(Code::invalid_argument,
                fmt::format("the request has {} columns and the model's signature {}", f.columns, s.columns.size()));
  if (s.columns.empty() && f.names.size() != f.columns) return fail(Code::internal, "a frame without its names");
  Call call;
  call.rows = f.rows;
  call.schema = std::move(schema);
  // A table of JSON or CSV, as against V2's inputs: its texts get the type that pandas gives them.
  if (f.types.empty() && !f.texts.empty()) call.schema += R"("texts":"inferred",)";
  call.schema += R"("kind":"frame","columns":[)";
  bool first = true;
  for (std::size_t c = 0; c < f.columns; ++c) {
    if (std::ranges::find(f.absent, c) != f.absent.end()) continue;
    std::string_view name = s.columns.empty() ? f.names[c] : s.columns[c].name;
    bool text = f.texts.contains(c);
    std::string_view type;
    if (!s.columns.empty()) {
      type = s.columns[c].type;
      if (s.columns[c].datatype == DataType::bytes && !text) {
        if (!f.data.empty() && !all_missing(f, c))
          return fail(Code::invalid_argument, fmt::format("#{} is of type {}, and the request has numbers", c, type));
        text = true;
      } else if (s.columns[c].datatype != DataType::bytes && text) {
        return fail(Code::invalid_argument, fmt::format("#{} is of type {}, and the request has texts", c, type));
      }
    } else if (text) {
      type = "string";
    } else {
      type = c < f.types.size() && f.types[c] != DataType::bytes ? numpy_type(f.types[c])
             : f.f32                                             ? "float32"
                                                                 : "float64";
    }
    call.schema += std::exchange(first, false) ? R"({"name":)" : R"(,{"name":)";
    json::append_string(call.schema, name);
    call.schema += R"(,"type":)";
    json::append_string(call.schema, type);
    call.schema += text ? R"(,"enc":"text"})" : R"(,"enc":"f8"})";
    call.blocks.push_back(column_block(f, c, text));
  }
  call.schema += ']';
  return call;
}

Call scoring_call(std::string_view content_type, std::string_view body) {
  Call call;
  call.rows = 1;
  call.scoring = true;
  call.schema = R"("kind":"scoring","type":)";
  json::append_string(call.schema, content_type);
  call.raw = body;
  return call;
}

std::string encode(const std::vector<const Call*>& calls, std::uint64_t id) {
  const auto& first = *calls[0];
  std::size_t rows = 0;
  for (const auto* c : calls) rows += c->rows;
  std::string header = fmt::format(R"({{"id":{},"rows":{},)", id, rows);
  if (first.tensor) {
    // The schema names the tensors for comparison only; here they stand with their rows.
    header += first.prefix + R"("tensors":[)";
    for (std::size_t i = 0; i < first.described.size(); ++i) {
      if (i > 0) header += ',';
      header += first.described[i] + std::to_string(rows) + first.tails[i];
    }
    header += "]}";
  } else {
    header += first.schema + "}";
  }
  std::string payload = first.raw;
  for (std::size_t b = 0; b < first.blocks.size(); ++b) {
    if (!first.blocks[b].text) {
      for (const auto* c : calls) append_raw(payload, c->blocks[b].numbers.data(), c->blocks[b].numbers.size());
      continue;
    }
    std::vector<std::uint32_t> offsets{0};
    std::string body, missing;
    for (const auto* c : calls) {
      const auto& t = c->blocks[b].texts;
      for (std::size_t r = 0; r < t.values.size(); ++r) {
        body += t.values[r];
        offsets.push_back(static_cast<std::uint32_t>(body.size()));
        missing += r < t.missing.size() && t.missing[r] != 0 ? '\1' : '\0';
      }
    }
    append_raw(payload, offsets.data(), offsets.size());
    payload += body;
    payload += missing;
  }
  std::string out(kMagic);
  auto header_size = static_cast<std::uint32_t>(header.size());
  auto payload_size = static_cast<std::uint64_t>(payload.size());
  append_raw(out, &header_size, 1);
  append_raw(out, &payload_size, 1);
  out += header;
  out += payload;
  return out;
}

namespace {

// Reads the arrays of an answer's payload, each checked against what is left of it.
class Payload {
 public:
  explicit Payload(std::string_view bytes) : bytes_(bytes) {}
  template <class T>
  bool take(std::vector<T>& out, std::size_t n) {
    if (n > bytes_.size() / sizeof(T)) return false;
    out.resize(n);
    if (n > 0) std::memcpy(out.data(), bytes_.data(), n * sizeof(T));
    bytes_.remove_prefix(n * sizeof(T));
    return true;
  }
  bool take_texts(std::vector<std::string>& out, std::size_t n) {
    std::vector<std::uint32_t> offsets;
    if (n >= bytes_.size() / sizeof(std::uint32_t) || !take(offsets, n + 1)) return false;
    if (offsets[0] != 0 || offsets[n] > bytes_.size()) return false;
    out.reserve(n);
    for (std::size_t i = 0; i < n; ++i) {
      if (offsets[i + 1] < offsets[i] || offsets[i + 1] > offsets[n]) return false;
      out.emplace_back(bytes_.substr(offsets[i], offsets[i + 1] - offsets[i]));
    }
    bytes_.remove_prefix(offsets[n]);
    if (bytes_.size() < n) return false;
    bytes_.remove_prefix(n);  // the marks of missing texts, which answers do not use
    return true;
  }
  [[nodiscard]] bool empty() const { return bytes_.empty(); }

 private:
  std::string_view bytes_;
};

Result<OutputPart> read_part(const boost::json::value& v, Payload& payload) {
  OutputPart p;
  p.name = json::string_or_empty(v, "name");
  p.content_type = json::string_or_empty(v, "codec");
  auto type = parse_data_type(json::string_or_empty(v, "type"));
  const auto* shape = json::find(v, "shape");
  if (!type || shape == nullptr || !shape->is_array()) return garbled("an array without its type or shape");
  p.type = *type;
  for (const auto& d : shape->get_array()) {
    if (!d.is_int64()) return garbled("a shape that is not made of sizes");
    p.shape.push_back(d.get_int64());
  }
  auto n = part_size(p);
  if (!n) return garbled("a shape that is out of range");
  auto enc = json::string_or_empty(v, "enc");
  if ((enc == "text") != (p.type == DataType::bytes)) return garbled("an array whose encoding is not that of its type");
  if (enc == "text") {
    if (!payload.take_texts(p.texts, *n)) return garbled("texts that are not there");
    for (const auto& t : p.texts) {
      if (!text::utf8_valid(t)) return garbled("a text that is not UTF-8");
      if (p.content_type == "pd_json" && !json::parse(t)) return garbled("a JSON value that is none");
    }
  } else if (enc == "i8") {
    if (is_float(p.type) || !payload.take(p.integers, *n)) return garbled("integers that are not there");
    if (p.type == DataType::boolean) return garbled("truth values among the integers");
  } else if (enc == "f8") {
    if (!is_float(p.type) && p.type != DataType::boolean) return garbled("integers as floating-point numbers");
    if (!payload.take(p.numbers, *n)) return garbled("numbers that are not there");
  } else {
    return garbled("an array of unknown encoding");
  }
  return p;
}

// What an ONNX model takes or gives, as its worker describes it.
Result<std::vector<Signature::Out>> read_ports(const boost::json::value& doc, std::string_view key) {
  std::vector<Signature::Out> out;
  const auto* list = json::find(doc, key);
  if (list == nullptr) return out;
  if (!list->is_array() || list->get_array().size() > kMaxArrays) return garbled("a list of tensors that is none");
  for (const auto& v : list->get_array()) {
    Signature::Out port;
    port.name = json::string_or_empty(v, "name");
    port.content_type = json::string_or_empty(v, "codec");
    auto type = parse_data_type(json::string_or_empty(v, "type"));
    const auto* shape = json::find(v, "shape");
    if (!type || shape == nullptr || !shape->is_array()) return garbled("a tensor without its type or shape");
    port.type = *type;
    for (const auto& d : shape->get_array()) {
      if (!d.is_int64() || d.get_int64() < -1) return garbled("a shape that is not made of sizes");
      port.shape.push_back(d.get_int64());
    }
    out.push_back(std::move(port));
  }
  return out;
}

// One tensor of at most two dimensions, whose values doubles hold, as native engines give it.
void simplify(Output& o) {
  auto& p = o.parts[0];
  if (o.form != Output::Form::array || p.content_type != "np" || p.shape.empty() || p.shape.size() > 2) return;
  constexpr std::int64_t kExact = std::int64_t{1} << 53;
  for (auto v : p.integers)
    if (v > kExact || v < -kExact) return;
  o.type = p.type;
  o.rows = static_cast<std::size_t>(p.shape[0]);
  o.width = p.shape.size() == 2 ? static_cast<std::size_t>(p.shape[1]) : 1;
  o.numbers = std::move(p.numbers);
  for (auto v : p.integers) o.numbers.push_back(static_cast<double>(v));
  o.texts = std::move(p.texts);
  o.parts.clear();
}

}  // namespace

Result<Answer> decode(std::string_view header, std::string_view payload) {
  auto doc = json::parse(header);
  if (!doc || !doc->is_object()) return garbled("its header is no JSON object");
  Answer a;
  const auto* id = json::find(*doc, "id");
  const auto* ok = json::find(*doc, "ok");
  if (id == nullptr || !id->is_int64() || id->get_int64() < 0 || ok == nullptr || !ok->is_bool())
    return garbled("its header has no id");
  a.id = static_cast<std::uint64_t>(id->get_int64());
  a.ok = ok->get_bool();
  if (!a.ok) {
    a.kind = json::string_or_empty(*doc, "kind");
    a.error = json::string_or_empty(*doc, "error");
    a.error = std::string(text::utf8_prefix(a.error, 1000));
    for (char& c : a.error)
      if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F) c = ' ';
    return a;
  }
  if (const auto* ready = json::find(*doc, "ready"); ready != nullptr) {
    a.ready = true;
    a.python = printable(json::string_or_empty(*doc, "python"));
    a.mlflow = printable(json::string_or_empty(*doc, "mlflow"));
    a.onnxruntime = printable(json::string_or_empty(*doc, "onnxruntime"));
    if (const auto* joins = json::find(*doc, "joins"); joins != nullptr && joins->is_bool())
      a.joins = joins->get_bool();
    MR_TRY(a.inputs, read_ports(*doc, "inputs"));
    MR_TRY(a.outputs, read_ports(*doc, "outputs"));
    const auto* scores = json::find(*doc, "scores");
    a.scores = scores != nullptr && scores->is_bool() && scores->get_bool();
    return a;
  }
  auto form = json::string_or_empty(*doc, "form");
  if (form == "scored") {
    const auto* status = json::find(*doc, "status");
    if (status == nullptr || !status->is_int64() || status->get_int64() < 200 || status->get_int64() > 599)
      return garbled("a status that is none");
    if (!text::utf8_valid(payload)) return garbled("a text that is not UTF-8");
    a.scored = ScoringAnswer{static_cast<int>(status->get_int64()), json::string_or_empty(*doc, "type") == "json",
                             std::string(payload)};
    return a;
  }
  using Form = Output::Form;
  if (form == "array")
    a.output.form = Form::array;
  else if (form == "frame")
    a.output.form = Form::frame;
  else if (form == "dict")
    a.output.form = Form::dict;
  else if (form == "list")
    a.output.form = Form::list;
  else if (form == "value")
    a.output.form = Form::value;
  else
    return garbled("an answer of unknown form");
  const auto* arrays = json::find(*doc, "arrays");
  if (arrays == nullptr || !arrays->is_array() || arrays->get_array().empty() ||
      arrays->get_array().size() > kMaxArrays)
    return garbled("an answer without arrays");
  Payload rest(payload);
  for (const auto& v : arrays->get_array()) {
    MR_TRY(auto p, read_part(v, rest));
    a.output.parts.push_back(std::move(p));
  }
  if (!rest.empty()) return garbled("more bytes than its arrays have");
  auto& parts = a.output.parts;
  if (a.output.form == Form::frame) {
    for (const auto& p : parts)
      if (p.shape.size() != 1 || p.shape[0] != parts[0].shape[0]) return garbled("columns of different lengths");
  } else if (a.output.form != Form::dict) {
    if (parts.size() != 1) return garbled("several arrays where one is meant");
    if (a.output.form == Form::list && (parts[0].shape.size() != 1 || parts[0].content_type != "pd_json"))
      return garbled("a list that is none");
    if (a.output.form == Form::value && (!parts[0].shape.empty() || parts[0].content_type != "pd_json"))
      return garbled("a value that is none");
  }
  simplify(a.output);
  return a;
}

std::optional<std::vector<Output>> split(const Output& whole, const std::vector<std::size_t>& rows) {
  std::size_t total = 0;
  for (auto r : rows) total += r;
  if (whole.parts.empty() ? whole.rows != total : whole.form == Output::Form::value) return std::nullopt;
  for (const auto& p : whole.parts)
    if (p.shape.empty() || p.shape[0] != static_cast<std::int64_t>(total)) return std::nullopt;
  auto cut = [](const auto& all, std::size_t from, std::size_t n, std::size_t width) {
    using V = std::decay_t<decltype(all)>;
    if (all.empty()) return V{};
    return V(all.begin() + static_cast<std::ptrdiff_t>(from * width),
             all.begin() + static_cast<std::ptrdiff_t>((from + n) * width));
  };
  std::vector<Output> out;
  std::size_t at = 0;
  for (auto n : rows) {
    Output o;
    o.type = whole.type;
    o.form = whole.form;
    o.width = whole.width;
    if (whole.parts.empty()) {
      o.rows = n;
      o.numbers = cut(whole.numbers, at, n, whole.width);
      o.texts = cut(whole.texts, at, n, whole.width);
    }
    for (const auto& p : whole.parts) {
      auto width = total == 0 ? 0 : *part_size(p) / total;
      OutputPart q{p.name, p.content_type, p.type, p.shape, {}, {}, {}};
      q.shape[0] = static_cast<std::int64_t>(n);
      q.numbers = cut(p.numbers, at, n, width);
      q.integers = cut(p.integers, at, n, width);
      q.texts = cut(p.texts, at, n, width);
      o.parts.push_back(std::move(q));
    }
    at += n;
    out.push_back(std::move(o));
  }
  return out;
}

}  // namespace mr::serving::python
