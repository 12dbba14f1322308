#include <simdjson.h>

#include <cmath>

#include "json/writer.h"
#include "serving/v2_request.h"
#include "text/text.h"

namespace mr::serving {

namespace dom = simdjson::dom;

namespace {

constexpr std::string_view kTypes =
    "'BOOL', 'UINT8', 'UINT16', 'UINT32', 'UINT64', 'INT8', 'INT16', 'INT32', 'INT64', 'FP16', 'FP32', 'FP64' or "
    "'BYTES'";
constexpr int kMaxNesting = 32;

std::unexpected<Refusal> unprocessable(std::string_view type, std::string_view loc, std::string_view msg,
                                       std::string_view ctx = {}) {
  return std::unexpected(refusal_422(type, loc, msg, ctx));
}

// Flattens nested lists to numbers of the input's type.
class Flattener {
 public:
  Flattener(const Input& in, std::string_view column, std::vector<double>& out) : in_(in), column_(column), out_(out) {}

  Checked<bool> run(dom::element e, int depth = 0) {
    if (depth > kMaxNesting) return refuse(fmt::format("the data of '{}' is nested too deep", printable(column_)));
    dom::array list;
    if (!e.get(list)) {
      for (auto item : list)
        if (auto r = run(item, depth + 1); !r) return r;
      return true;
    }
    if (out_.size() >= kMaxValues) return refuse("the request holds more values than are taken");
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
          return refuse(fmt::format("the column '{}' has a null, and its datatype {} has no missing value",
                                    printable(column_), data_type_name(in_.type)));
        v = std::nan("");
        break;
      case dom::element_type::STRING: {
        auto parsed = number_of_text(std::string_view(e));
        if (!parsed)
          return refuse(fmt::format("the column '{}' has a text that is no number, and its datatype is {}",
                                    printable(column_), data_type_name(in_.type)));
        v = *parsed;
        break;
      }
      default:
        return refuse(fmt::format("the column '{}' has an object among its data", printable(column_)));
    }
    if (!is_float(in_.type) && in_.type != DataType::boolean && in_.type != DataType::bytes) {
      if (v != std::floor(v))
        return refuse(
            fmt::format("the column '{}' has a number with a fraction, and its datatype is {}; send it as FP64",
                        printable(column_), data_type_name(in_.type)));
      // A float that reads as -2^63 may stand for an integer below it.
      bool too_low =
          in_.type == DataType::int64 && e.type() == dom::element_type::DOUBLE && v <= -9223372036854775808.0;
      if (too_low || !in_range(in_.type, v))
        return refuse(fmt::format("the column '{}' has a number outside the range of its datatype {}",
                                  printable(column_), data_type_name(in_.type)));
    }
    if (in_.type == DataType::boolean) v = v != 0 ? 1 : 0;
    if (in_.type == DataType::fp32) v = static_cast<double>(static_cast<float>(v));
    out_.push_back(v);
    return true;
  }

 private:
  const Input& in_;
  std::string_view column_;
  std::vector<double>& out_;
};

// The same to texts; numbers and truth values become the text that Python prints.
Checked<bool> flatten_texts(dom::element e, std::string_view column, TextColumn& out, int depth = 0) {
  if (depth > kMaxNesting) return refuse(fmt::format("the data of '{}' is nested too deep", printable(column)));
  dom::array list;
  if (!e.get(list)) {
    for (auto item : list)
      if (auto r = flatten_texts(item, column, out, depth + 1); !r) return r;
    return true;
  }
  if (out.values.size() >= kMaxValues) return refuse("the request holds more values than are taken");
  std::string text;
  switch (e.type()) {
    case dom::element_type::STRING:
      text = std::string_view(e);
      break;
    case dom::element_type::NULL_VALUE:
      out.values.emplace_back();
      out.missing.push_back(1);
      return true;
    case dom::element_type::BOOL:
      text = bool(e) ? "True" : "False";
      break;
    case dom::element_type::OBJECT:
      return refuse(fmt::format("the column '{}' has an object among its data", printable(column)));
    default:
      text = simdjson::minify(e);
      break;
  }
  out.values.push_back(std::move(text));
  out.missing.push_back(0);
  return true;
}

class JsonData final : public InputData {
 public:
  struct Source {
    dom::element data;
    std::optional<std::string_view> raw;
  };
  std::vector<Source> sources;

  [[nodiscard]] Checked<bool> numbers(const Input& in, std::string_view column,
                                      std::vector<double>& out) const override {
    const auto& s = sources[in.index];
    if (s.raw) return numbers_of_raw(in, column, *s.raw, out);
    return Flattener(in, column, out).run(s.data);
  }
  [[nodiscard]] Checked<bool> texts(const Input& in, std::string_view column, TextColumn& out) const override {
    const auto& s = sources[in.index];
    if (s.raw) return texts_of_raw(column, *s.raw, out);
    return flatten_texts(s.data, column, out);
  }
};

class Reader {
 public:
  explicit Reader(std::string_view binary) : rest_(binary), binary_(!binary.empty()) {}

  Checked<JsonRequest> run(dom::object o) {
    auto data = std::make_unique<JsonData>();
    data_ = data.get();
    rq_.data = data_;
    dom::element v;
    if (!o["id"].get(v) && !v.is_null()) {
      std::string_view id;
      if (v.get(id)) return unprocessable("string_type", R"(["body","id"])", "Input should be a valid string");
      rq_.id = id;
    }
    if (!o["parameters"].get(v) && !v.is_null()) {
      dom::object parameters;
      if (v.get(parameters))
        return unprocessable("model_attributes_type", R"(["body","parameters"])",
                             "Input should be a valid dictionary or object to extract fields from");
      request_parameters(parameters);
    }
    if (auto ok = inputs(o); !ok) return std::unexpected(ok.error());
    if (auto ok = outputs(o); !ok) return std::unexpected(ok.error());
    if (!rest_.empty())
      return refuse(fmt::format("the body has {} bytes after its binary tensors: binary_data_size and the data differ",
                                rest_.size()));
    return JsonRequest{std::move(rq_), std::move(data)};
  }

 private:
  void request_parameters(dom::object parameters) {
    std::string others;
    for (auto [key, value] : parameters) {
      if (key == "content_type") {
        (void)value.get(rq_.content_type);
      } else if (key == "binary_data_output") {
        (void)value.get(rq_.binary_output);
      } else if (key != "headers") {
        others += others.empty() ? '{' : ',';
        others += fmt::format("{}:{}", quoted(key), std::string(simdjson::minify(value)));
      }
    }
    if (!others.empty()) rq_.params = others + "}";
  }

  static std::string quoted(std::string_view key) {
    std::string out;
    json::append_string(out, key);
    return out;
  }

  Checked<bool> inputs(dom::object o) {
    dom::element v;
    dom::array list;
    if (o["inputs"].get(v)) return unprocessable("missing", R"(["body","inputs"])", "Field required");
    if (v.get(list)) return unprocessable("list_type", R"(["body","inputs"])", "Input should be a valid list");
    for (auto e : list) {
      if (auto ok = input(e); !ok) return ok;
      if (rq_.inputs.size() > kMaxInputs) return refuse("the request has more inputs than are taken");
    }
    return true;
  }

  Checked<bool> outputs(dom::object o) {
    dom::element v;
    if (o["outputs"].get(v) || v.is_null()) return true;
    dom::array list;
    if (v.get(list)) return unprocessable("list_type", R"(["body","outputs"])", "Input should be a valid list");
    for (auto e : list) {
      auto here = [&](std::string_view field) {
        return fmt::format(R"(["body","outputs",{}{}])", rq_.outputs.size(),
                           field.empty() ? "" : fmt::format(R"(,"{}")", field));
      };
      dom::object one;
      if (e.get(one))
        return unprocessable("model_attributes_type", here(""),
                             "Input should be a valid dictionary or object to extract fields from");
      WantedOutput w;
      if (one["name"].get(v)) return unprocessable("missing", here("name"), "Field required");
      if (v.get(w.name)) return unprocessable("string_type", here("name"), "Input should be a valid string");
      dom::object parameters;
      bool binary = false;
      if (!one["parameters"].get(parameters) && !parameters["binary_data"].get(binary)) w.binary = binary;
      rq_.outputs.push_back(w);
      if (rq_.outputs.size() > kMaxInputs) return refuse("the request asks for more outputs than are taken");
    }
    return true;
  }

  Checked<bool> shape(dom::element list_element, std::size_t index, Input& in) {
    dom::array list;
    if (list_element.get(list))
      return unprocessable("list_type", fmt::format(R"(["body","inputs",{},"shape"])", index),
                           "Input should be a valid list");
    std::size_t k = 0;
    for (auto d : list) {
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
      if (++k > kMaxDimensions)
        return refuse(fmt::format("the input '{}' has more than 32 dimensions in its shape", printable(in.name)));
    }
    return true;
  }

  Checked<bool> input(dom::element e) {
    const auto index = rq_.inputs.size();
    auto loc = [&](std::string_view field) { return fmt::format(R"(["body","inputs",{},"{}"])", index, field); };
    dom::object o;
    if (e.get(o))
      return unprocessable("model_attributes_type", fmt::format(R"(["body","inputs",{}])", index),
                           "Input should be a valid dictionary or object to extract fields from");
    Input in;
    in.index = index;
    dom::element v;
    if (o["name"].get(v)) return unprocessable("missing", loc("name"), "Field required");
    if (v.get(in.name)) return unprocessable("string_type", loc("name"), "Input should be a valid string");
    if (o["shape"].get(v)) return unprocessable("missing", loc("shape"), "Field required");
    if (auto ok = shape(v, index, in); !ok) return ok;
    std::string_view type;
    if (o["datatype"].get(v)) return unprocessable("missing", loc("datatype"), "Field required");
    auto parsed = v.get(type) ? std::nullopt : parse_data_type(type);
    if (!parsed)
      return unprocessable("enum", loc("datatype"), fmt::format("Input should be {}", kTypes),
                           fmt::format(R"({{"expected":"{}"}})", kTypes));
    in.type = *parsed;
    JsonData::Source source;
    bool has_data = !o["data"].get(source.data);
    dom::object parameters;
    bool sized = false;
    std::uint64_t size = 0;
    if (!o["parameters"].get(v) && !v.is_null()) {
      if (v.get(parameters))
        return unprocessable("model_attributes_type", loc("parameters"),
                             "Input should be a valid dictionary or object to extract fields from");
      (void)parameters["content_type"].get(in.content_type);
      sized = !parameters["binary_data_size"].get(v);
      if (sized && v.get(size))
        return refuse(fmt::format("binary_data_size of the input '{}' is no size in bytes", printable(in.name)));
    }
    if (sized) {
      if (has_data) return refuse(fmt::format("the input '{}' has both data and binary_data_size", printable(in.name)));
      if (!binary_ && size > 0)
        return refuse(
            fmt::format("the input '{}' says that its data is binary, and the request has no header "
                        "Inference-Header-Content-Length and no binary data",
                        printable(in.name)));
      if (size > rest_.size())
        return refuse(
            fmt::format("the input '{}' says that it has {} bytes of binary data, and {} are left in the body",
                        printable(in.name), size, rest_.size()));
      source.raw = rest_.substr(0, size);
      rest_.remove_prefix(size);
    } else if (!has_data) {
      return unprocessable("missing", loc("data"), "Field required");
    }
    data_->sources.push_back(source);
    rq_.inputs.push_back(std::move(in));
    return true;
  }

  InferRequest rq_;
  JsonData* data_ = nullptr;
  std::string_view rest_;
  bool binary_;
};

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

}  // namespace

Checked<JsonRequest> read_json_request(std::string_view body, std::string_view binary) {
  // The parser keeps its buffers from request to request; one that grew with a large body is given back.
  thread_local dom::parser parser;
  if (text::trim(body).empty()) return unprocessable("missing", R"(["body"])", "Field required");
  dom::element root;
  auto err = parser.parse(body.data(), body.size()).get(root);
  if (err == simdjson::NUMBER_ERROR) {
    // An integer beyond 64 bits: read as a float, it meets the range check of its column, which names it.
    auto rewritten = integers_as_floats(body);
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
  return Reader(binary).run(o);
}

}  // namespace mr::serving
