#include "serving/onnx/exchange.h"

#include <cmath>
#include <cstring>
#include <limits>
#include <optional>

#include "json/parse.h"
#include "json/writer.h"
#include "serving/types.h"

namespace mr::serving::onnx {

namespace {

constexpr std::size_t kMaxElements = std::size_t{1} << 29;

std::unexpected<Error> bad_input(std::string what) { return fail(Code::invalid_argument, std::move(what)); }
std::unexpected<Error> broken() { return fail(Code::internal, "a request that cannot be read"); }

// One array of a request.
struct Array {
  std::string name;
  bool text = false;
  std::vector<std::int64_t> shape;
  std::vector<double> numbers;
  std::vector<std::string> texts;
  std::vector<std::uint8_t> missing;
};

class PayloadReader {
 public:
  explicit PayloadReader(std::string_view bytes) : rest_(bytes) {}
  template <class T>
  bool take(std::vector<T>& out, std::size_t n) {
    if (n > rest_.size() / sizeof(T)) return false;
    out.resize(n);
    if (n > 0) std::memcpy(out.data(), rest_.data(), n * sizeof(T));
    rest_.remove_prefix(n * sizeof(T));
    return true;
  }
  bool take_texts(Array& a, std::size_t n) {
    std::vector<std::uint32_t> offsets;
    if (n >= rest_.size() / sizeof(std::uint32_t) || !take(offsets, n + 1) || offsets[n] > rest_.size()) return false;
    for (std::size_t i = 0; i < n; ++i) {
      if (offsets[i + 1] < offsets[i] || offsets[i + 1] > offsets[n]) return false;
      a.texts.emplace_back(rest_.substr(offsets[i], offsets[i + 1] - offsets[i]));
    }
    rest_.remove_prefix(offsets[n]);
    return take(a.missing, n);
  }

 private:
  std::string_view rest_;
};

std::optional<std::size_t> elements(const std::vector<std::int64_t>& shape) {
  std::size_t n = 1;
  for (auto d : shape) {
    if (d < 0 || (d > 0 && n > kMaxElements / static_cast<std::size_t>(d))) return std::nullopt;
    n *= static_cast<std::size_t>(d);
  }
  return n;
}

Result<std::vector<Array>> read_arrays(const boost::json::value& header, std::string_view payload, bool table) {
  const auto* list = json::find(header, table ? "columns" : "tensors");
  const auto* rows = json::find(header, "rows");
  if (list == nullptr || !list->is_array() || rows == nullptr || !rows->is_int64() || rows->get_int64() < 0)
    return broken();
  PayloadReader reader(payload);
  std::vector<Array> out;
  for (const auto& v : list->get_array()) {
    Array a;
    a.name = json::string_or_empty(v, "name");
    a.text = json::string_or_empty(v, "enc") == "text";
    if (table) {
      a.shape = {rows->get_int64()};
    } else {
      const auto* shape = json::find(v, "shape");
      if (shape == nullptr || !shape->is_array()) return broken();
      for (const auto& d : shape->get_array()) {
        if (!d.is_int64()) return broken();
        a.shape.push_back(d.get_int64());
      }
    }
    auto n = elements(a.shape);
    if (!n || (a.text ? !reader.take_texts(a, *n) : !reader.take(a.numbers, *n))) return broken();
    out.push_back(std::move(a));
  }
  return out;
}

std::uint16_t half_of(double d) {
  const std::uint16_t sign = std::signbit(d) ? 0x8000 : 0;
  if (std::isnan(d)) return static_cast<std::uint16_t>(sign | 0x7E00);
  d = std::fabs(d);
  if (d == 0) return sign;
  if (d >= 65520) return static_cast<std::uint16_t>(sign | 0x7C00);
  int e = 0;
  std::frexp(d, &e);
  e = std::max(e, -13);
  const auto units = static_cast<int>(std::nearbyint(std::ldexp(d, 11 - e)));
  return static_cast<std::uint16_t>(sign | (((e + 13) << 10) + units));
}

template <class T>
void put(std::string& out, T v) {
  out.append(reinterpret_cast<const char*>(&v), sizeof v);
}

template <class T>
bool whole_numbers(const std::vector<double>& from, std::string& out) {
  // The bounds as doubles that the type holds: 2^63 and 2^64 themselves are beyond it.
  const auto low = static_cast<double>(std::numeric_limits<T>::min());
  const double high = std::ldexp(1.0, std::numeric_limits<T>::digits);
  for (double v : from) {
    if (!(v == std::floor(v)) || v < low || v >= high) return false;
    put(out, static_cast<T>(v));
  }
  return true;
}

std::string_view type_name(Element e) {
  switch (e) {
    case Element::float32:
      return "float";
    case Element::float64:
      return "double";
    case Element::float16:
      return "float16";
    case Element::text:
      return "string";
    case Element::boolean:
      return "bool";
    case Element::int8:
      return "int8";
    case Element::int16:
      return "int16";
    case Element::int32:
      return "int32";
    case Element::int64:
      return "int64";
    case Element::uint8:
      return "uint8";
    case Element::uint16:
      return "uint16";
    case Element::uint32:
      return "uint32";
    case Element::uint64:
      return "uint64";
    default:
      return "another type";
  }
}

bool numbers_as(Element type, const std::vector<double>& from, std::string& out) {
  switch (type) {
    case Element::float32:
      for (double v : from) put(out, static_cast<float>(v));
      return true;
    case Element::float64:
      for (double v : from) put(out, v);
      return true;
    case Element::float16:
      for (double v : from) put(out, half_of(v));
      return true;
    case Element::boolean:
      for (double v : from) {
        if (v != 0 && v != 1) return false;
        put(out, v != 0);
      }
      return true;
    case Element::int8:
      return whole_numbers<std::int8_t>(from, out);
    case Element::int16:
      return whole_numbers<std::int16_t>(from, out);
    case Element::int32:
      return whole_numbers<std::int32_t>(from, out);
    case Element::int64:
      return whole_numbers<std::int64_t>(from, out);
    case Element::uint8:
      return whole_numbers<std::uint8_t>(from, out);
    case Element::uint16:
      return whole_numbers<std::uint16_t>(from, out);
    case Element::uint32:
      return whole_numbers<std::uint32_t>(from, out);
    case Element::uint64:
      return whole_numbers<std::uint64_t>(from, out);
    default:
      return false;
  }
}

Result<Feed> feed_of(const Port& input, Array a) {
  Feed f;
  f.type = input.type;
  f.shape = std::move(a.shape);
  const auto name = printable(input.name);
  if (a.text != (input.type == Element::text))
    return bad_input(fmt::format("the model's input '{}' is of type {}, and the request has {}", name,
                                 type_name(input.type), a.text ? "texts" : "numbers"));
  if (a.text) {
    for (std::size_t i = 0; i < a.texts.size(); ++i) {
      if (a.missing[i] != 0)
        return bad_input(fmt::format("the model's input '{}' takes texts, and one is missing", name));
      if (a.texts[i].find('\0') != std::string::npos)
        return bad_input(fmt::format("the model's input '{}' takes no texts with a NUL in them", name));
    }
    f.texts = std::move(a.texts);
  } else if (!numbers_as(input.type, a.numbers, f.data)) {
    return bad_input(fmt::format("the model's input '{}' is of type {}, and the request has a value that is none", name,
                                 type_name(input.type)));
  }
  // A column is what the model has as [N], or [N, 1].
  const auto rank = input.shape.size();
  if (f.shape.size() == 1 && rank == 2 && (input.shape[1] == 1 || input.shape[1] == -1))
    f.shape.push_back(1);
  else if (f.shape.size() == 2 && f.shape[1] == 1 && rank == 1)
    f.shape.pop_back();
  else if (rank == 0 && elements(f.shape) == 1)
    f.shape.clear();
  return f;
}

// A table's columns side by side, as one tensor of rows.
Result<Array> joined(const std::vector<Array>& columns, const Port& input) {
  Array out;
  out.text = input.type == Element::text;
  const auto rows = columns.empty() ? 0 : static_cast<std::size_t>(columns[0].shape[0]);
  out.shape = {static_cast<std::int64_t>(rows), static_cast<std::int64_t>(columns.size())};
  for (const auto& c : columns)
    if (c.text != out.text)
      return bad_input(fmt::format("the model takes a tensor of type {}, and the column '{}' holds {}",
                                   type_name(input.type), printable(c.name), c.text ? "texts" : "numbers"));
  if (out.text) {
    for (std::size_t r = 0; r < rows; ++r)
      for (const auto& c : columns) {
        out.texts.push_back(c.texts[r]);
        out.missing.push_back(c.missing[r]);
      }
  } else {
    out.numbers.resize(rows * columns.size());
    for (std::size_t c = 0; c < columns.size(); ++c)
      for (std::size_t r = 0; r < rows; ++r) out.numbers[r * columns.size() + c] = columns[c].numbers[r];
  }
  return out;
}

}  // namespace

std::string_view protocol_type(Element e) {
  static constexpr std::string_view names[] = {"",      "FP32",  "UINT8", "INT8", "UINT16", "INT16",  "INT32",
                                               "INT64", "BYTES", "BOOL",  "FP16", "FP64",   "UINT32", "UINT64"};
  const auto i = static_cast<std::size_t>(e);
  return i < std::size(names) ? names[i] : std::string_view();
}

Result<std::vector<Feed>> feeds_of(const boost::json::value& header, std::string_view payload,
                                   const std::vector<Port>& inputs) {
  const auto kind = json::string_or_empty(header, "kind");
  const bool table = kind == "frame";
  if (!table && kind != "tensor" && kind != "tensors") return broken();
  MR_TRY(auto arrays, read_arrays(header, payload, table));
  std::vector<Feed> out;
  if (inputs.size() == 1 && (table || arrays.size() == 1)) {
    const bool by_name = kind == "tensors" && !arrays[0].name.empty() && arrays[0].name != inputs[0].name;
    if (by_name)
      return bad_input(fmt::format("the model's input is '{}', and the tensor '{}' is given", printable(inputs[0].name),
                                   printable(arrays[0].name)));
    if (table && arrays.empty()) return bad_input("the request has no columns");
    if (table) {
      MR_TRY(arrays[0], joined(arrays, inputs[0]));
    }
    MR_TRY(auto feed, feed_of(inputs[0], std::move(arrays[0])));
    out.push_back(std::move(feed));
    return out;
  }
  for (const auto& input : inputs) {
    auto at = std::find_if(arrays.begin(), arrays.end(), [&](const Array& a) { return a.name == input.name; });
    if (at == arrays.end())
      return bad_input(fmt::format("the model's input '{}' is not among the {} of the request", printable(input.name),
                                   table ? "columns" : "tensors"));
    MR_TRY(auto feed, feed_of(input, *at));
    out.push_back(std::move(feed));
  }
  return out;
}

namespace {

void append_scalar(std::string& out, const Value& v, std::size_t i) {
  if (v.type == Element::text) {
    json::append_string(out, v.texts[i]);
  } else if (v.type == Element::boolean) {
    out += v.numbers[i] != 0 ? "true" : "false";
  } else if (!v.integers.empty()) {
    out += v.type == Element::uint64 ? std::to_string(static_cast<std::uint64_t>(v.integers[i]))
                                     : std::to_string(v.integers[i]);
  } else if (!std::isfinite(v.numbers[i])) {
    out += "null";
  } else {
    json::append_double(out, v.numbers[i]);
  }
}

void append_nested_tensor(std::string& out, const Value& v, std::size_t dim, std::size_t& at) {
  if (dim == v.shape.size()) {
    append_scalar(out, v, at++);
    return;
  }
  out += '[';
  for (std::int64_t i = 0; i < v.shape[dim]; ++i) {
    if (i > 0) out += ',';
    append_nested_tensor(out, v, dim + 1, at);
  }
  out += ']';
}

void append_json(std::string& out, const Value& v) {
  if (v.kind == Kind::tensor) {
    std::size_t at = 0;
    append_nested_tensor(out, v, 0, at);
  } else if (v.kind == Kind::sequence) {
    out += '[';
    for (std::size_t i = 0; i < v.items.size(); ++i) {
      if (i > 0) out += ',';
      append_json(out, v.items[i]);
    }
    out += ']';
  } else if (v.kind == Kind::map && v.items.size() == 2) {
    const auto& keys = v.items[0];
    const auto& values = v.items[1];
    const auto n = std::max(keys.texts.size(), keys.integers.size());
    const auto have = std::max({values.texts.size(), values.integers.size(), values.numbers.size()});
    out += '{';
    for (std::size_t i = 0; i < n && i < have; ++i) {
      if (i > 0) out += ',';
      json::append_string(out, keys.type == Element::text ? keys.texts[i] : std::to_string(keys.integers[i]));
      out += ':';
      append_scalar(out, values, i);
    }
    out += '}';
  } else {
    out += "null";
  }
}

template <class T>
void append_raw(std::string& out, const std::vector<T>& values) {
  out.append(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T));
}

Result<> append_texts(std::string& out, const std::vector<std::string>& texts) {
  std::vector<std::uint32_t> offsets{0};
  std::size_t total = 0;
  for (const auto& t : texts) {
    total += t.size();
    if (total > std::numeric_limits<std::uint32_t>::max())
      return fail(Code::internal, "the answer's texts are longer than 4 GiB");
    offsets.push_back(static_cast<std::uint32_t>(total));
  }
  append_raw(out, offsets);
  for (const auto& t : texts) out += t;
  out.append(texts.size(), '\0');
  return {};
}

// Texts are UTF-8 on the wire, whatever the model gives.
std::string clean(const std::string& text) {
  std::string quoted, out;
  json::append_string(quoted, text);
  if (auto back = json::parse(quoted); back && back->is_string()) out = std::string(back->get_string());
  return out;
}

}  // namespace

Result<Answered> answer_of(const std::vector<Port>& outputs, const std::vector<Value>& values, bool table) {
  struct Part {
    std::string_view type, codec, enc;
    std::vector<std::int64_t> shape;
    std::vector<std::string> texts;
    const Value* value = nullptr;
  };
  std::vector<Part> parts;
  bool same_length = true;
  for (const auto& v : values) {
    Part p;
    p.value = &v;
    if (v.kind == Kind::tensor) {
      p.type = protocol_type(v.type);
      p.codec = table ? (v.type == Element::text ? "str" : "") : "np";
      const bool numbers = v.type == Element::boolean || v.type == Element::float16 || v.type == Element::float32 ||
                           v.type == Element::float64;
      p.enc = v.type == Element::text ? "text" : numbers ? "f8" : "i8";
      p.shape = v.shape;
      if (table) p.shape = {static_cast<std::int64_t>(elements(v.shape).value_or(0))};
      for (const auto& t : v.texts) p.texts.push_back(clean(t));
    } else {
      p.type = "BYTES";
      p.codec = "pd_json";
      p.enc = "text";
      if (v.kind == Kind::sequence) {
        p.shape = {static_cast<std::int64_t>(v.items.size())};
        for (const auto& item : v.items) append_json(p.texts.emplace_back(), item);
      } else {  // one map, or nothing
        if (table) p.shape = {1};
        append_json(p.texts.emplace_back(), v);
      }
    }
    same_length = same_length && (parts.empty() || p.shape == parts[0].shape);
    parts.push_back(std::move(p));
  }
  // Columns of different lengths make no table: such outputs keep their shapes.
  const bool frame = table && same_length;
  if (table && !same_length)
    for (auto& p : parts)
      if (p.value->kind == Kind::tensor) p.shape = p.value->shape;
  Answered out;
  out.members = fmt::format(R"("ok":true,"form":"{}","arrays":[)", frame ? "frame" : "dict");
  for (std::size_t i = 0; i < parts.size(); ++i) {
    auto& p = parts[i];
    if (i > 0) out.members += ',';
    out.members += R"({"name":)";
    json::append_string(out.members, outputs[i].name);
    out.members += fmt::format(R"(,"type":"{}","codec":"{}","enc":"{}","shape":[{}]}})", p.type, p.codec, p.enc,
                               fmt::join(p.shape, ","));
    if (p.enc == "text")
      MR_CHECK(append_texts(out.payload, p.texts));
    else if (p.enc == "i8")
      append_raw(out.payload, p.value->integers);
    else
      append_raw(out.payload, p.value->numbers);
  }
  out.members += ']';
  return out;
}

std::string not_taken(const std::vector<Port>& inputs, const std::vector<Port>& outputs) {
  if (inputs.empty() || outputs.empty()) return "the model takes or gives nothing";
  for (const auto& p : inputs)
    if (p.kind != Kind::tensor || protocol_type(p.type).empty())
      return fmt::format("the model's input '{}' is no tensor of numbers or texts", printable(p.name));
  for (const auto& p : outputs)
    if ((p.kind == Kind::tensor && protocol_type(p.type).empty()) || p.kind == Kind::opaque || p.kind == Kind::sparse)
      return fmt::format("the model's output '{}' is of a type that is not known here", printable(p.name));
  return {};
}

std::string ready_members(std::string_view version, const std::vector<Port>& inputs, const std::vector<Port>& outputs) {
  std::string out = R"("ok":true,"ready":true,"onnxruntime":)";
  json::append_string(out, version);
  bool joins = true;
  auto list = [&](std::string_view key, const std::vector<Port>& ports) {
    out += fmt::format(R"(,"{}":[)", key);
    for (std::size_t i = 0; i < ports.size(); ++i) {
      const auto& p = ports[i];
      const bool tensor = p.kind == Kind::tensor;
      if (i > 0) out += ',';
      out += R"({"name":)";
      json::append_string(out, p.name);
      out += fmt::format(R"(,"type":"{}","codec":"{}","shape":[)", tensor ? protocol_type(p.type) : "BYTES",
                         tensor ? "np" : "pd_json");
      out += tensor ? fmt::format("{}]}}", fmt::join(p.shape, ",")) : "-1]}";
    }
    out += ']';
  };
  list("inputs", inputs);
  list("outputs", outputs);
  // A model of a fixed number of rows takes each request alone.
  for (const auto& p : inputs) joins = joins && !p.shape.empty() && p.shape[0] == -1;
  out += joins ? R"(,"joins":true)" : R"(,"joins":false)";
  return out;
}

}  // namespace mr::serving::onnx
