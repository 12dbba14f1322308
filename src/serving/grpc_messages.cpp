#include "serving/grpc_messages.h"

#include "grpc/wire.h"
#include "json/writer.h"
#include "serving/server_info.h"
#include "text/text.h"

namespace mr::serving {

namespace {

using grpc::Reader;
using grpc::Writer;

// InferTensorContents: the field that holds values of a data type; 0: raw only.
std::uint32_t contents_field(DataType t) {
  switch (t) {
    case DataType::boolean:
      return 1;
    case DataType::int8:
    case DataType::int16:
    case DataType::int32:
      return 2;
    case DataType::int64:
      return 3;
    case DataType::uint8:
    case DataType::uint16:
    case DataType::uint32:
      return 4;
    case DataType::uint64:
      return 5;
    case DataType::fp32:
      return 6;
    case DataType::fp64:
      return 7;
    case DataType::bytes:
      return 8;
    case DataType::fp16:
      break;
  }
  return 0;
}
constexpr std::string_view kContents[] = {"raw_input_contents", "bool_contents", "int_contents",
                                          "int64_contents",     "uint_contents", "uint64_contents",
                                          "fp32_contents",      "fp64_contents", "bytes_contents"};

std::unexpected<Refusal> broken(std::string_view what) {
  return refuse(fmt::format("the {} cannot be read: it is no such message", what));
}

class GrpcData final : public InputData {
 public:
  struct Source {
    std::string_view contents;
    std::optional<std::string_view> raw;
  };
  std::vector<Source> sources;

  [[nodiscard]] Checked<bool> numbers(const Input& in, std::string_view column,
                                      std::vector<double>& out) const override {
    const auto& s = sources[in.index];
    if (s.raw) return numbers_of_raw(in, column, *s.raw, out);
    if (in.type == DataType::bytes) {
      TextColumn texts_found;
      if (auto ok = texts(in, column, texts_found); !ok) return ok;
      for (const auto& t : texts_found.values) {
        auto v = number_of_text(t);
        if (!v)
          return refuse(fmt::format("the column '{}' has a text that is no number, and its datatype is BYTES",
                                    printable(column)));
        out.push_back(*v);
      }
      return true;
    }
    const auto wanted = contents_field(in.type);
    Reader r(s.contents);
    std::vector<std::uint64_t> whole;
    while (r.next()) {
      if (r.field() != wanted) return other_field(in, column, r.field());
      switch (wanted) {
        case 6:
          r.repeated_fp32(out, kMaxValues);
          break;
        case 7:
          r.repeated_fp64(out, kMaxValues);
          break;
        default:
          r.repeated_varint(whole, kMaxValues);
      }
    }
    if (!r.ok()) return broken(fmt::format("contents of the input '{}'", printable(column)));
    const bool is_unsigned = wanted == 4 || wanted == 5;
    for (auto v : whole) {
      double d = wanted == 1   ? (v != 0 ? 1 : 0)
                 : is_unsigned ? static_cast<double>(v)
                               : static_cast<double>(wanted == 2 ? std::int64_t{static_cast<std::int32_t>(v)}
                                                                 : static_cast<std::int64_t>(v));
      if (wanted != 1 && !in_range(in.type, d))
        return refuse(fmt::format("the column '{}' has a number outside the range of its datatype {}",
                                  printable(column), data_type_name(in.type)));
      out.push_back(d);
    }
    return true;
  }
  [[nodiscard]] Checked<bool> texts(const Input& in, std::string_view column, TextColumn& out) const override {
    const auto& s = sources[in.index];
    if (s.raw) return texts_of_raw(column, *s.raw, out);
    Reader r(s.contents);
    while (r.next()) {
      if (r.field() != 8) return other_field(in, column, r.field());
      if (out.values.size() >= kMaxValues) return refuse("the request holds more values than are taken");
      out.values.emplace_back(r.bytes());
      out.missing.push_back(0);
    }
    if (!r.ok()) return broken(fmt::format("contents of the input '{}'", printable(column)));
    return true;
  }

 private:
  static std::unexpected<Refusal> other_field(const Input& in, std::string_view column, std::uint32_t field) {
    return refuse(fmt::format("the values of the input '{}' are in {}, and its datatype {} has them in {}",
                              printable(column), field < std::size(kContents) ? kContents[field] : "an unknown field",
                              data_type_name(in.type), kContents[contents_field(in.type)]));
  }
};

// One entry of map<string, InferParameter>.
struct Parameter {
  std::string_view key;
  std::string_view text;  // of a string
  std::string json;       // the value's JSON text
};
std::optional<Parameter> read_parameter(std::string_view entry) {
  Parameter p;
  Reader r(entry);
  while (r.next()) {
    if (r.field() == 1) p.key = r.bytes();
    if (r.field() != 2) continue;
    Reader v(r.bytes());
    while (v.next()) switch (v.field()) {
        case 1:
          p.json = v.boolean() ? "true" : "false";
          break;
        case 2:
          p.json = std::to_string(v.int64());
          break;
        case 3:
          p.text = v.bytes();
          p.json.clear();
          json::append_string(p.json, p.text);
          break;
        case 4:
          if (double d = v.fp64(); std::isfinite(d)) {
            p.json.clear();
            json::append_double(p.json, d);
          }
          break;
        case 5:
          p.json = std::to_string(v.varint());
          break;
        default:
          break;
      }
    if (!v.ok()) return std::nullopt;
  }
  if (!r.ok()) return std::nullopt;
  return p;
}

std::string parameter(std::string_view key, std::string_view text) {
  std::string value, entry;
  Writer(value).bytes(3, text);
  Writer w(entry);
  w.bytes(1, key);
  w.bytes(2, value);
  return entry;
}

Checked<bool> read_tensor(std::string_view bytes, GrpcInfer& out, GrpcData& data) {
  Input in;
  in.index = out.request.inputs.size();
  GrpcData::Source source;
  std::string_view datatype;
  Reader r(bytes);
  while (r.next()) switch (r.field()) {
      case 1:
        in.name = r.bytes();
        break;
      case 2:
        datatype = r.bytes();
        break;
      case 3:
        r.repeated_varint(in.shape, kMaxDimensions);
        break;
      case 4: {
        auto p = read_parameter(r.bytes());
        if (!p) return broken("parameters of an input");
        if (p->key == "content_type") in.content_type = p->text;
        break;
      }
      case 5:
        source.contents = r.bytes();
        break;
      default:
        break;
    }
  if (!r.ok()) return broken(fmt::format("input '{}'", printable(in.name)));
  auto type = parse_data_type(datatype);
  if (!type)
    return refuse(fmt::format("the input '{}' has the unknown datatype '{}'", printable(in.name), printable(datatype)));
  in.type = *type;
  if (!text::utf8_valid(in.name)) return refuse("the name of an input is not UTF-8");
  out.request.inputs.push_back(std::move(in));
  data.sources.push_back(source);
  if (out.request.inputs.size() > kMaxInputs) return refuse("the request has more inputs than are taken");
  return true;
}

void write_tensor_metadata(Writer& w, std::uint32_t field, std::string_view name, DataType type,
                           const std::vector<std::int64_t>& shape, std::string_view codec) {
  std::string body;
  Writer t(body);
  t.bytes(1, name);
  t.bytes(2, data_type_name(type));
  t.packed_varint(3, shape);
  t.bytes(4, parameter("content_type", codec));
  w.bytes(field, body);
}

std::string contents_of(const OutputPart& p) {
  std::string out;
  Writer w(out);
  const auto field = contents_field(p.type);
  if (field == 8)
    for (const auto& t : p.texts) w.bytes(8, t);
  else if (field == 6)
    w.packed_fp32(field, p.numbers);
  else if (field == 7)
    w.packed_fp64(field, p.numbers);
  else if (!p.integers.empty())
    w.packed_varint(field, p.integers);
  else if (p.type == DataType::uint64)
    w.packed_varint(field, std::vector<std::uint64_t>(p.numbers.begin(), p.numbers.end()));
  else
    w.packed_varint(field, std::vector<std::int64_t>(p.numbers.begin(), p.numbers.end()));
  return out;
}

}  // namespace

Checked<GrpcInfer> read_infer(std::string_view message) {
  GrpcInfer out;
  auto data = std::make_unique<GrpcData>();
  std::vector<std::string_view> raw;
  std::string params;
  Reader r(message);
  while (r.next()) switch (r.field()) {
      case 1:
        out.model = r.bytes();
        break;
      case 2:
        out.version = r.bytes();
        break;
      case 3:
        out.request.id = std::string(r.bytes());
        break;
      case 4: {
        auto p = read_parameter(r.bytes());
        if (!p) return broken("parameters of the request");
        if (p->key == "content_type") {
          out.request.content_type = p->text;
        } else if (p->key != "headers" && !p->json.empty() && text::utf8_valid(p->key)) {
          params += params.empty() ? '{' : ',';
          json::append_string(params, p->key);
          params += ":" + p->json;
        }
        break;
      }
      case 5:
        if (auto ok = read_tensor(r.bytes(), out, *data); !ok) return std::unexpected(ok.error());
        break;
      case 6: {
        WantedOutput w;
        Reader o(r.bytes());
        while (o.next())
          if (o.field() == 1) w.name = o.bytes();
        if (!o.ok()) return broken("requested output");
        out.request.outputs.push_back(w);
        if (out.request.outputs.size() > kMaxInputs) return refuse("the request asks for more outputs than are taken");
        break;
      }
      case 7:
        raw.push_back(r.bytes());
        if (raw.size() > kMaxInputs) return refuse("the request has more raw_input_contents than are taken");
        break;
      default:
        break;
    }
  if (!r.ok()) return broken("ModelInferRequest");
  if (!params.empty()) out.request.params = params + "}";
  if (!out.request.id) out.request.id = "";
  if (!raw.empty()) {
    // Contents beside them are passed over, as MLServer does.
    if (raw.size() != data->sources.size())
      return refuse(
          fmt::format("raw_input_contents has {} entries, and there are {} inputs", raw.size(), data->sources.size()));
    for (std::size_t i = 0; i < raw.size(); ++i) data->sources[i].raw = raw[i];
    out.raw = true;
  }
  out.request.data = data.get();
  out.data = std::move(data);
  return out;
}

std::string write_infer(const Model& m, const GrpcInfer& asked, std::string_view content_type,
                        std::vector<OutputPart> parts) {
  std::string out;
  Writer w(out);
  w.bytes(1, m.name);
  if (!m.version.empty()) w.bytes(2, m.version);
  if (!asked.request.id->empty()) w.bytes(3, *asked.request.id);
  w.bytes(4, parameter("content_type", content_type));
  // What has no typed field goes raw, and then all of it does.
  bool raw = asked.raw;
  for (const auto& p : parts) raw = raw || contents_field(p.type) == 0;
  for (const auto& p : parts) {
    std::string body;
    Writer t(body);
    t.bytes(1, p.name);
    t.bytes(2, data_type_name(p.type));
    t.packed_varint(3, p.shape);
    if (!p.content_type.empty()) t.bytes(4, parameter("content_type", p.content_type));
    t.bytes(5, raw ? std::string() : contents_of(p));
    w.bytes(5, body);
  }
  if (raw)
    for (const auto& p : parts) w.bytes(6, raw_of(p));
  return out;
}

std::optional<std::pair<std::string, std::string>> read_two_texts(std::string_view message) {
  std::pair<std::string, std::string> out;
  Reader r(message);
  while (r.next()) {
    if (r.field() == 1) out.first = r.bytes();
    if (r.field() == 2) out.second = r.bytes();
  }
  if (!r.ok()) return std::nullopt;
  return out;
}

std::optional<bool> read_index(std::string_view message) {
  bool ready = false;
  Reader r(message);
  while (r.next())
    if (r.field() == 2) ready = r.boolean();
  if (!r.ok()) return std::nullopt;
  return ready;
}

std::string write_flag(bool v) {
  std::string out;
  if (v) Writer(out).boolean(1, true);
  return out;
}

std::string write_server_metadata() {
  std::string out;
  Writer w(out);
  w.bytes(1, kServerName);
  w.bytes(2, kServerVersion);
  for (auto e : server_extensions()) w.bytes(3, e);
  return out;
}

std::string write_model_metadata(const Model& m) {
  const auto& s = m.loaded.signature;
  std::string out;
  Writer w(out);
  w.bytes(1, m.name);
  for (const auto& t : input_tensors(s)) write_tensor_metadata(w, 4, t.name, t.type, t.shape, t.content_type);
  for (const auto& o : s.outputs) write_tensor_metadata(w, 5, o.name, o.type, o.shape, o.content_type);
  if (auto codec = request_codec(m); !codec.empty()) w.bytes(6, parameter("content_type", codec));
  return out;
}

std::string write_index(const std::vector<Repository::IndexEntry>& entries) {
  std::string out;
  Writer w(out);
  for (const auto& e : entries) {
    std::string body;
    Writer m(body);
    m.bytes(1, e.name);
    if (!e.version.empty()) m.bytes(2, e.version);
    m.bytes(3, e.ready ? "READY" : "UNAVAILABLE");
    w.bytes(1, body);
  }
  return out;
}

std::string write_statistics(const std::vector<std::shared_ptr<const Model>>& models) {
  std::string out;
  Writer w(out);
  for (const auto& m : models) {
    auto s = m->traffic->snapshot();
    std::string stats, body;
    auto duration = [&](std::uint32_t field, std::uint64_t count, std::uint64_t ns) {
      std::string d;
      Writer dw(d);
      dw.varint(1, count);
      dw.varint(2, ns);
      Writer(stats).bytes(field, d);
    };
    duration(1, s.answered, s.answered_ns);
    duration(2, s.refused, s.refused_ns);
    duration(3, s.waited, s.waited_ns);
    duration(5, s.runs, s.run_ns);
    Writer b(body);
    b.bytes(1, m->name);
    b.bytes(2, m->version);
    b.varint(3, s.last_ms);
    b.varint(4, s.rows);
    b.varint(5, s.runs);
    b.bytes(6, stats);
    w.bytes(1, body);
  }
  return out;
}

}  // namespace mr::serving
