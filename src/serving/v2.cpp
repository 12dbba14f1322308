#include "serving/v2.h"

#include <simdjson.h>

#include "crypto/random.h"
#include "json/writer.h"
#include "serving/number_text.h"
#include "text/text.h"

namespace mr::serving {

namespace dom = simdjson::dom;

Refusal refusal(int status, std::string_view error) {
  std::string body;
  json::Writer w(body);
  w.begin_object();
  w.field("error", error);
  w.end_object();
  return {status, std::move(body)};
}

Refusal refusal_422(std::string_view type, std::string_view loc, std::string_view msg, std::string_view ctx) {
  std::string body = R"({"detail":[{"type":)";
  json::append_string(body, type);
  body += R"(,"loc":)";
  body += loc;
  body += R"(,"msg":)";
  json::append_string(body, msg);
  if (!ctx.empty()) {
    body += R"(,"ctx":)";
    body += ctx;
  }
  body += "}]}";
  return {422, std::move(body)};
}

namespace {

constexpr std::size_t kMaxValues = 64U << 20;
constexpr std::string_view kTypes =
    "'BOOL', 'UINT8', 'UINT16', 'UINT32', 'UINT64', 'INT8', 'INT16', 'INT32', 'INT64', 'FP16', 'FP32', 'FP64' or "
    "'BYTES'";

template <class T>
using Checked = std::expected<T, Refusal>;

struct Input {
  std::string_view name;
  DataType type = DataType::fp64;
  std::vector<std::int64_t> shape;
  dom::element data;
  std::string_view content_type;
};

std::unexpected<Refusal> bad(std::string_view text) { return std::unexpected(refusal(400, text)); }
std::unexpected<Refusal> unprocessable(std::string_view type, std::string_view loc, std::string_view msg,
                                       std::string_view ctx = {}) {
  return std::unexpected(refusal_422(type, loc, msg, ctx));
}

bool known_codec(std::string_view c) {
  static const std::set<std::string_view> known{"np", "pd", "str", "base64", "datetime", "pd_json", "dict"};
  return known.contains(c);
}

Checked<Input> read_input(dom::element e, std::size_t index) {
  auto loc = [&](std::string_view field) { return fmt::format(R"(["body","inputs",{},"{}"])", index, field); };
  dom::object o;
  if (e.get(o))
    return unprocessable("model_attributes_type", fmt::format(R"(["body","inputs",{}])", index),
                         "Input should be a valid dictionary or object to extract fields from");
  Input in;
  dom::element v;
  if (o["name"].get(v)) return unprocessable("missing", loc("name"), "Field required");
  if (v.get(in.name)) return unprocessable("string_type", loc("name"), "Input should be a valid string");
  dom::array shape;
  if (o["shape"].get(v)) return unprocessable("missing", loc("shape"), "Field required");
  if (v.get(shape)) return unprocessable("list_type", loc("shape"), "Input should be a valid list");
  std::size_t k = 0;
  for (auto d : shape) {
    std::int64_t n = 0;
    double f = 0;
    if (d.get(n)) {
      auto here = fmt::format(R"(["body","inputs",{},"shape",{}])", index, k);
      if (!d.get(f) && f != std::floor(f))
        return unprocessable("int_from_float", here,
                             "Input should be a valid integer, got a number with a fractional part");
      if (d.is_string()) {
        std::string_view s;
        (void)d.get(s);
        auto parsed = text::to_i64(s);
        if (!parsed)
          return unprocessable("int_parsing", here,
                               "Input should be a valid integer, unable to parse string as an integer");
        n = *parsed;
      } else if (!d.get(f) && std::fabs(f) < 9e15) {
        n = static_cast<std::int64_t>(f);
      } else {
        return unprocessable("int_type", here, "Input should be a valid integer");
      }
    }
    in.shape.push_back(n);
    if (++k > 32)
      return bad(fmt::format("the input '{}' has more than 32 dimensions in its shape", printable(in.name)));
  }
  std::string_view type;
  if (o["datatype"].get(v)) return unprocessable("missing", loc("datatype"), "Field required");
  auto parsed = v.get(type) ? std::nullopt : parse_data_type(type);
  if (!parsed)
    return unprocessable("enum", loc("datatype"), fmt::format("Input should be {}", kTypes),
                         fmt::format(R"({{"expected":"{}"}})", kTypes));
  in.type = *parsed;
  if (o["data"].get(in.data)) return unprocessable("missing", loc("data"), "Field required");
  dom::object parameters;
  if (!o["parameters"].get(v) && !v.is_null()) {
    if (v.get(parameters))
      return unprocessable("model_attributes_type", loc("parameters"),
                           "Input should be a valid dictionary or object to extract fields from");
    (void)parameters["content_type"].get(in.content_type);
  }
  return in;
}

// Flattens nested lists to numbers of the input's type.
class Flattener {
 public:
  Flattener(const Input& in, std::string_view column, std::vector<double>& out) : in_(in), column_(column), out_(out) {}

  Checked<bool> run(dom::element e, int depth = 0) {
    if (depth > 32) return bad(fmt::format("the data of '{}' is nested too deep", printable(column_)));
    dom::array list;
    if (!e.get(list)) {
      for (auto item : list)
        if (auto r = run(item, depth + 1); !r) return r;
      return true;
    }
    if (out_.size() >= kMaxValues) return bad("the request holds more values than are taken");
    double v = 0;
    switch (e.type()) {
      case dom::element_type::DOUBLE:
        v = double(e);
        break;
      case dom::element_type::INT64:
        v = static_cast<double>(std::int64_t(e));
        break;
      case dom::element_type::UINT64:
        v = static_cast<double>(std::uint64_t(e));
        break;
      case dom::element_type::BOOL:
        v = bool(e) ? 1 : 0;
        break;
      case dom::element_type::NULL_VALUE:
        if (!is_float(in_.type) && in_.type != DataType::bytes)
          return bad(fmt::format("the column '{}' has a null, and its datatype {} has no missing value",
                                 printable(column_), data_type_name(in_.type)));
        v = std::nan("");
        break;
      case dom::element_type::STRING: {
        auto s = text::trim(std::string_view(e));
        if (s.starts_with('+')) s.remove_prefix(1);
        auto parsed = text::to_double(s);
        if (!parsed)
          return bad(fmt::format("the column '{}' has a text that is no number, and its datatype is {}",
                                 printable(column_), data_type_name(in_.type)));
        v = *parsed;
        break;
      }
      default:
        return bad(fmt::format("the column '{}' has an object among its data", printable(column_)));
    }
    if (!is_float(in_.type) && in_.type != DataType::boolean && in_.type != DataType::bytes) {
      if (v != std::floor(v))
        return bad(fmt::format("the column '{}' has a number with a fraction, and its datatype is {}; send it as FP64",
                               printable(column_), data_type_name(in_.type)));
      // A float that reads as -2^63 may stand for an integer below it.
      bool too_low =
          in_.type == DataType::int64 && e.type() == dom::element_type::DOUBLE && v <= -9223372036854775808.0;
      if (too_low || !in_range(v))
        return bad(fmt::format("the column '{}' has a number outside the range of its datatype {}", printable(column_),
                               data_type_name(in_.type)));
    }
    if (in_.type == DataType::boolean) v = v != 0 ? 1 : 0;
    if (in_.type == DataType::fp32) v = static_cast<double>(static_cast<float>(v));
    out_.push_back(v);
    return true;
  }

 private:
  [[nodiscard]] bool in_range(double v) const {
    switch (in_.type) {
      case DataType::uint8:
        return v >= 0 && v <= 255;
      case DataType::uint16:
        return v >= 0 && v <= 65535;
      case DataType::uint32:
        return v >= 0 && v <= 4294967295.0;
      case DataType::uint64:
        return v >= 0 && v < 18446744073709551616.0;
      case DataType::int8:
        return v >= -128 && v <= 127;
      case DataType::int16:
        return v >= -32768 && v <= 32767;
      case DataType::int32:
        return v >= -2147483648.0 && v <= 2147483647.0;
      default:
        return v >= -9223372036854775808.0 && v < 9223372036854775808.0;
    }
  }
  const Input& in_;
  std::string_view column_;
  std::vector<double>& out_;
};

std::string shape_text(const std::vector<std::int64_t>& shape) {
  std::string out = "(";
  for (std::size_t i = 0; i < shape.size(); ++i) out += fmt::format("{}{}", i > 0 ? ", " : "", shape[i]);
  return out + (shape.size() == 1 ? ",)" : ")");
}

// Decodes a numeric input and resolves one -1 in its shape; the shape's product must be the number of values.
Checked<std::vector<double>> numbers(Input& in, std::string_view column) {
  std::vector<double> values;
  if (in.shape.empty()) return bad(fmt::format("the input '{}' has an empty shape", printable(column)));
  if ((!in.content_type.empty() && in.content_type != "np" && in.content_type != "pd"))
    return bad(fmt::format(
        "the column '{}' is numeric for this model, and the input is {}{}", printable(column), data_type_name(in.type),
        in.content_type.empty() ? "" : fmt::format(" with content_type '{}'", printable(in.content_type))));
  Flattener f(in, column, values);
  if (auto r = f.run(in.data); !r) return std::unexpected(r.error());
  std::uint64_t product = 1;
  std::int64_t* open = nullptr;
  for (auto& d : in.shape) {
    if (d == -1 && open == nullptr) {
      open = &d;
      continue;
    }
    if (d < 0 || (d > 0 && product > kMaxValues / static_cast<std::uint64_t>(d) + 1))
      return bad(fmt::format("the input '{}' has a shape that is out of range", printable(column)));
    product *= static_cast<std::uint64_t>(d);
  }
  if (open != nullptr) {
    if (product == 0 || values.size() % product != 0)
      return bad(fmt::format("the input '{}' has {} elements, which its shape {} cannot hold", printable(column),
                             values.size(), shape_text(in.shape)));
    *open = static_cast<std::int64_t>(values.size() / product);
    product = values.size();
  }
  if (product != values.size())
    return bad(fmt::format("the input '{}' has {} elements and its shape {} asks for {}", printable(column),
                           values.size(), shape_text(in.shape), product));
  return values;
}

std::string_view numpy_name(DataType t) {
  static constexpr std::string_view names[] = {"bool",  "uint8", "uint16",  "uint32",  "uint64",  "int8",  "int16",
                                               "int32", "int64", "float16", "float32", "float64", "object"};
  return names[static_cast<std::size_t>(t)];
}

// A column's values fit what the signature wants, without loss.
Checked<bool> check_column(const Column& c, const Input& in, const std::vector<double>& values) {
  auto refuse = [&](std::string_view more) {
    return bad(fmt::format("Incompatible input types for column {}. Can not safely convert {} ({}) to {}{}",
                           printable(c.name), numpy_name(in.type), data_type_name(in.type),
                           c.type == "long"      ? "int64"
                           : c.type == "integer" ? "int32"
                                                 : c.type,
                           more));
  };
  if (c.datatype == DataType::bytes) return refuse(" for this model");
  if (c.datatype == DataType::boolean && in.type != DataType::boolean) return refuse(".");
  if (c.datatype == DataType::int64 || c.datatype == DataType::int32) {
    double low = c.datatype == DataType::int32 ? -2147483648.0 : -9223372036854775808.0;
    double high = c.datatype == DataType::int32 ? 2147483647.0 : 9223372036854774784.0;
    for (double v : values)
      if (!(v == std::floor(v)) || v < low || v > high)
        return refuse(" without loss: a value is no whole number in its range.");
  }
  return true;
}

Checked<Frame> frame_of_columns(const Model& m, std::vector<Input>& inputs) {
  const auto& engine = *m.loaded.engine;
  const auto& sig = m.loaded.signature;
  std::vector<Column> wanted = sig.columns;
  if (wanted.empty()) {  // no signature: the columns are what the request says, or what the model was fitted with
    if (!engine.feature_names().empty()) {
      for (const auto& n : engine.feature_names()) wanted.push_back({n, "double", DataType::fp64, true});
    } else {
      for (const auto& in : inputs) wanted.push_back({std::string(in.name), "double", DataType::fp64, true});
    }
  }
  std::vector<Input*> by_column(wanted.size(), nullptr);
  std::string absent;
  bool all_f32 = true;
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    // Requests mostly come in the signature's order.
    if (i < inputs.size() && inputs[i].name == wanted[i].name) by_column[i] = &inputs[i];
    for (std::size_t k = inputs.size(); k-- > i + 1;)
      if (inputs[k].name == wanted[i].name) {
        by_column[i] = &inputs[k];  // of a repeated name the last counts
        break;
      }
    for (std::size_t k = 0; by_column[i] == nullptr && k < i && k < inputs.size(); ++k)
      if (inputs[k].name == wanted[i].name) by_column[i] = &inputs[k];
    if (by_column[i] == nullptr) absent += fmt::format("{}'{}'", absent.empty() ? "" : ", ", printable(wanted[i].name));
  }
  if (!absent.empty()) return bad(fmt::format("Model is missing inputs [{}].", absent));
  Frame f;
  f.columns = wanted.size();
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    auto& in = *by_column[i];
    const auto& c = wanted[i];
    auto values = numbers(in, c.name);
    if (!values) return std::unexpected(values.error());
    if (in.shape.size() > 1 && in.shape[0] != static_cast<std::int64_t>(values->size()))
      return bad(fmt::format("the input '{}' has the shape {}; a column takes (N,) or (N, 1)", printable(c.name),
                             shape_text(in.shape)));
    if (sig.present)
      if (auto ok = check_column(c, in, *values); !ok) return std::unexpected(ok.error());
    all_f32 = all_f32 && (sig.present ? c.datatype == DataType::fp32 : in.type == DataType::fp32);
    if (i == 0) {
      f.rows = values->size();
      f.data.resize(f.rows * f.columns);
    } else if (values->size() != f.rows) {
      return bad(fmt::format("the column '{}' has {} rows and '{}' has {}", printable(c.name), values->size(),
                             printable(wanted[0].name), f.rows));
    }
    for (std::size_t r = 0; r < f.rows; ++r) f.data[r * f.columns + i] = (*values)[r];
  }
  f.f32 = all_f32 && f.columns > 0;
  return f;
}

Checked<Frame> frame_of_tensor(const Model& m, std::vector<Input>& inputs) {
  const auto& sig = m.loaded.signature;
  if (inputs.size() != 1)
    return bad(
        fmt::format("There was an error encoding / decoding the payload: The 'np' codec only supports a single input "
                    "tensor ({} were received)",
                    inputs.size()));
  auto& in = inputs[0];
  if (!sig.columns.empty()) {
    std::string names;
    for (const auto& c : sig.columns) names += fmt::format("{}'{}'", names.empty() ? "" : ", ", printable(c.name));
    return bad(
        fmt::format("Model is missing inputs [{}]. Its signature has named columns: send one input for each, with "
                    "content_type pd or none.",
                    names));
  }
  if (sig.tensor && in.type != sig.tensor_type)
    return bad(fmt::format("dtype of input {} ({}) does not match expected dtype {} ({})", numpy_name(in.type),
                           data_type_name(in.type), sig.tensor_dtype, data_type_name(sig.tensor_type)));
  auto values = numbers(in, in.name);
  if (!values) return std::unexpected(values.error());
  if (sig.tensor) {
    bool fits = in.shape.size() == sig.tensor_shape.size();
    for (std::size_t i = 0; fits && i < in.shape.size(); ++i)
      fits = sig.tensor_shape[i] == -1 || sig.tensor_shape[i] == in.shape[i];
    if (!fits)
      return bad(fmt::format("Shape of input {} does not match expected shape {}.", shape_text(in.shape),
                             shape_text(sig.tensor_shape)));
  }
  if (in.shape.size() != 2)
    return bad(fmt::format("the input '{}' has the shape {}; the model takes two dimensions (rows, features)",
                           printable(in.name), shape_text(in.shape)));
  Frame f;
  f.rows = static_cast<std::size_t>(in.shape[0]);
  f.columns = static_cast<std::size_t>(in.shape[1]);
  f.data = std::move(*values);
  f.f32 = in.type == DataType::fp32;
  return f;
}

// Appends ".0" to integers of 19 digits and more, outside of texts.
std::string integers_as_floats(std::string_view body) {
  std::string out;
  bool text = false;
  for (std::size_t i = 0; i < body.size();) {
    char c = body[i];
    if (text) {
      if (c == '\\' && i + 1 < body.size())
        out += body[i++];
      else if (c == '"')
        text = false;
      out += body[i++];
      continue;
    }
    if (c == '"') text = true;
    if (c < '0' || c > '9') {
      out += c;
      ++i;
      continue;
    }
    std::size_t end = i;
    while (end < body.size() && std::string_view("0123456789.eE+-").find(body[end]) != std::string_view::npos) ++end;
    auto number = body.substr(i, end - i);
    out += number;
    if (number.size() >= 19 && number.find_first_of(".eE") == std::string_view::npos) out += ".0";
    i = end;
  }
  return out;
}

std::string render(const Model& m, const std::string& id, const Output& o) {
  std::string out;
  out.reserve(256 + o.numbers.size() * 20);
  out += R"({"model_name":)";
  json::append_string(out, m.name);
  if (!m.version.empty()) {
    out += R"(,"model_version":)";
    json::append_string(out, m.version);
  }
  out += R"(,"id":)";
  json::append_string(out, id);
  out += fmt::format(
      R"(,"parameters":{{"content_type":"np"}},"outputs":[{{"name":"output-1","shape":[{},{}],"datatype":"{}","parameters":{{"content_type":"np"}},"data":[)",
      o.rows, o.width, data_type_name(o.type));
  bool first = true;
  for (const auto& t : o.texts) {
    if (!first) out += ',';
    first = false;
    json::append_string(out, t);
  }
  for (double v : o.numbers) {
    if (!first) out += ',';
    first = false;
    append_number(out, o.type, v);
  }
  out += "]}]}";
  return out;
}

}  // namespace

std::expected<InferAnswer, Refusal> infer(const Model& m, std::string_view body) {
  // The parser keeps its buffers from request to request; one that grew with a large body is given back.
  thread_local dom::parser parser;
  if (text::trim(body).empty()) return unprocessable("missing", R"(["body"])", "Field required");
  dom::element root;
  auto err = parser.parse(body.data(), body.size()).get(root);
  std::string rewritten;
  if (err == simdjson::NUMBER_ERROR) {
    // An integer beyond 64 bits: read as a float, it meets the range check of its column, which names it.
    rewritten = integers_as_floats(body);
    err = parser.parse(rewritten).get(root);
  }
  if (err)
    return unprocessable(
        "json_invalid", R"(["body",0])", "JSON decode error",
        fmt::format(R"({{"error":"{}"}})", err == simdjson::DEPTH_ERROR ? "too deep" : "the body is no valid JSON"));
  dom::object o;
  if (root.get(o))
    return unprocessable("model_attributes_type", R"(["body"])",
                         "Input should be a valid dictionary or object to extract fields from");
  InferAnswer answer;
  dom::element v;
  bool has_id = false;
  if (!o["id"].get(v) && !v.is_null()) {
    std::string_view id;
    if (v.get(id)) return unprocessable("string_type", R"(["body","id"])", "Input should be a valid string");
    answer.id = id;
    has_id = true;
  }
  std::string_view content_type;
  if (!o["parameters"].get(v) && !v.is_null()) {
    dom::object parameters;
    if (v.get(parameters))
      return unprocessable("model_attributes_type", R"(["body","parameters"])",
                           "Input should be a valid dictionary or object to extract fields from");
    (void)parameters["content_type"].get(content_type);
  }
  dom::array list;
  if (o["inputs"].get(v)) return unprocessable("missing", R"(["body","inputs"])", "Field required");
  if (v.get(list)) return unprocessable("list_type", R"(["body","inputs"])", "Input should be a valid list");
  std::vector<Input> inputs;
  for (auto e : list) {
    auto in = read_input(e, inputs.size());
    if (!in) return std::unexpected(in.error());
    if (!in->content_type.empty() && !known_codec(in->content_type))
      return bad(fmt::format(
          "the input '{}' has the unknown content_type '{}'; np, pd, str, base64, datetime and pd_json are known",
          printable(in->name), printable(in->content_type)));
    inputs.push_back(std::move(*in));
    if (inputs.size() > 100000) return bad("the request has more inputs than are taken");
  }
  if (!content_type.empty() && !known_codec(content_type))
    return bad(
        fmt::format("unknown content_type '{}' of the request; np and pd are known here", printable(content_type)));
  const auto& sig = m.loaded.signature;
  if (content_type.empty()) content_type = !sig.columns.empty() ? "pd" : sig.tensor ? "np" : "";
  if (content_type.empty())
    return bad(
        "this model has no signature, so the request must say how to read its inputs: set parameters.content_type to "
        "'np' (one tensor) or 'pd' (one input for each column)");
  if (content_type != "np" && content_type != "pd")
    return bad(
        fmt::format("content_type '{}' of the request does not fit this model; np and pd do", printable(content_type)));
  auto frame = content_type == "np" ? frame_of_tensor(m, inputs) : frame_of_columns(m, inputs);
  if (!frame) return std::unexpected(frame.error());
  auto output = m.loaded.engine->predict(*frame);
  if (!output) {
    // Engines speak of columns by number; the client knows them by name.
    std::string text = output.error().message;
    if (auto at = text.find('#'); at != std::string::npos) {
      auto end = at + 1;
      while (end < text.size() && std::isdigit(static_cast<unsigned char>(text[end])) != 0) ++end;
      auto index =
          static_cast<std::size_t>(text::to_i64(std::string_view(text).substr(at + 1, end - at - 1)).value_or(0));
      std::string name = index < sig.columns.size() ? sig.columns[index].name
                         : content_type == "pd" && index < inputs.size() && sig.columns.empty()
                             ? std::string(inputs[index].name)
                             : "";
      if (!name.empty()) text = text.substr(0, at) + "'" + printable(name) + "'" + text.substr(end);
    }
    return bad(text);
  }
  if (!has_id) answer.id = crypto::uuid4();
  answer.body = render(m, answer.id, *output);
  return answer;
}

}  // namespace mr::serving
