#include <cmath>

#include "serving/columns.h"
#include "serving/server_info.h"
#include "serving/v2_request.h"
#include "text/text.h"

namespace mr::serving {

namespace {

std::string_view numpy_name(DataType t) {
  static constexpr std::string_view names[] = {"bool",  "uint8", "uint16",  "uint32",  "uint64",  "int8",  "int16",
                                               "int32", "int64", "float16", "float32", "float64", "object"};
  return names[static_cast<std::size_t>(t)];
}

std::string shape_text(const std::vector<std::int64_t>& shape) {
  std::string out = "(";
  for (std::size_t i = 0; i < shape.size(); ++i) out += fmt::format("{}{}", i > 0 ? ", " : "", shape[i]);
  return out + (shape.size() == 1 ? ",)" : ")");
}

// Resolves one -1 in the shape; its product must be the number of values.
Checked<bool> fit_shape(Input& in, std::string_view column, std::size_t values) {
  std::uint64_t product = 1;
  std::int64_t* open = nullptr;
  for (auto& d : in.shape) {
    if (d == -1 && open == nullptr) {
      open = &d;
      continue;
    }
    if (d < 0 || (d > 0 && product > kMaxValues / static_cast<std::uint64_t>(d) + 1))
      return refuse(fmt::format("the input '{}' has a shape that is out of range", printable(column)));
    product *= static_cast<std::uint64_t>(d);
  }
  if (open != nullptr) {
    if (product == 0 || values % product != 0)
      return refuse(fmt::format("the input '{}' has {} elements, which its shape {} cannot hold", printable(column),
                                values, shape_text(in.shape)));
    *open = static_cast<std::int64_t>(values / product);
    product = values;
  }
  if (product != values)
    return refuse(fmt::format("the input '{}' has {} elements and its shape {} asks for {}", printable(column), values,
                              shape_text(in.shape), product));
  return true;
}

Checked<bool> has_shape(const Input& in, std::string_view column) {
  if (in.shape.empty()) return refuse(fmt::format("the input '{}' has an empty shape", printable(column)));
  return true;
}

Checked<std::vector<double>> numbers_of(const InputData& data, Input& in, std::string_view column) {
  if (auto ok = has_shape(in, column); !ok) return std::unexpected(ok.error());
  if ((!in.content_type.empty() && in.content_type != "np" && in.content_type != "pd"))
    return refuse(fmt::format(
        "the column '{}' is numeric for this model, and the input is {}{}", printable(column), data_type_name(in.type),
        in.content_type.empty() ? "" : fmt::format(" with content_type '{}'", printable(in.content_type))));
  std::vector<double> values;
  if (auto ok = data.numbers(in, column, values); !ok) return std::unexpected(ok.error());
  if (auto ok = fit_shape(in, column, values.size()); !ok) return std::unexpected(ok.error());
  return values;
}

// The texts of a BYTES input by its codec: str as they are, base64 decoded (what is none stays), datetime in ISO form,
// pd_json a JSON text each.
Checked<TextColumn> texts_of(const InputData& data, Input& in, std::string_view column, std::string_view codec) {
  if (auto ok = has_shape(in, column); !ok) return std::unexpected(ok.error());
  if (!in.content_type.empty() && !codec.empty()) codec = in.content_type;
  TextColumn out;
  if (auto ok = data.texts(in, column, out); !ok) return std::unexpected(ok.error());
  if (auto ok = fit_shape(in, column, out.values.size()); !ok) return std::unexpected(ok.error());
  for (std::size_t i = 0; i < out.values.size(); ++i) {
    if (out.missing[i] != 0) continue;
    auto& t = out.values[i];
    if (codec == "base64") {
      if (auto plain = text::base64_decode(t)) t = std::move(*plain);
    } else if (codec == "datetime") {
      if (!is_datetime(t))
        return refuse(
            fmt::format("the column '{}' holds a text that is no date and time in ISO 8601 form", printable(column)));
    } else if (codec == "pd_json") {
      auto plain = text_of_json(t);
      if (!plain)
        return refuse(
            fmt::format("the column '{}' holds a JSON text that is no string, number or null", printable(column)));
      out.missing[i] = plain->second ? 1 : 0;
      t = std::move(plain->first);
    }
  }
  return out;
}

// Without a signature, BYTES are texts when they say so or do not all read as numbers.
Checked<bool> is_text(const InputData& data, const Input& in, std::string_view column) {
  if (in.type != DataType::bytes) return false;
  if (in.content_type == "str" || in.content_type == "base64" || in.content_type == "datetime" ||
      in.content_type == "pd_json")
    return true;
  TextColumn texts;
  if (auto ok = data.texts(in, column, texts); !ok) return std::unexpected(ok.error());
  for (std::size_t i = 0; i < texts.values.size(); ++i)
    if (texts.missing[i] == 0 && !number_of_text(texts.values[i])) return true;
  return false;
}

std::unexpected<Refusal> incompatible(const Column& c, std::string_view name, const Input& in, std::string_view more) {
  return refuse(fmt::format("Incompatible input types for column {}. Can not safely convert {} ({}) to {}{}",
                            printable(name), numpy_name(in.type), data_type_name(in.type),
                            c.type == "long"      ? "int64"
                            : c.type == "integer" ? "int32"
                                                  : c.type,
                            more));
}

// A column's values fit what the signature wants, without loss.
Checked<bool> check_column(const Column& c, std::string_view name, const Input& in, const std::vector<double>& values) {
  if (c.datatype == DataType::boolean && in.type != DataType::boolean) return incompatible(c, name, in, ".");
  if (c.datatype == DataType::int64 || c.datatype == DataType::int32) {
    double low = c.datatype == DataType::int32 ? -2147483648.0 : -9223372036854775808.0;
    double high = c.datatype == DataType::int32 ? 2147483647.0 : 9223372036854774784.0;
    for (double v : values)
      if (!(v == std::floor(v)) || v < low || v > high)
        return incompatible(c, name, in, " without loss: a value is no whole number in its range.");
  }
  return true;
}

bool is_json(const Column& c) { return c.type == "array" || c.type == "object" || c.type == "map" || c.type == "any"; }

std::string_view codec_of(const Column& c) {
  return c.type == "binary" ? "base64" : c.type == "datetime" ? "datetime" : "str";
}

// Finds the input of each wanted column; of a repeated name the last counts. Null: absent.
std::vector<Input*> inputs_by_column(const std::vector<Column>& wanted, std::vector<Input>& inputs) {
  std::vector<Input*> found(wanted.size(), nullptr);
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    // Requests mostly come in the signature's order.
    if (i < inputs.size() && inputs[i].name == wanted[i].name) found[i] = &inputs[i];
    for (std::size_t k = inputs.size(); k-- > i + 1;)
      if (inputs[k].name == wanted[i].name) {
        found[i] = &inputs[k];
        break;
      }
    for (std::size_t k = 0; found[i] == nullptr && k < i && k < inputs.size(); ++k)
      if (inputs[k].name == wanted[i].name) found[i] = &inputs[k];
  }
  return found;
}

Checked<Frame> frame_of_columns(const Model& m, InferRequest& rq) {
  const auto& engine = *m.loaded.engine;
  const auto& sig = m.loaded.signature;
  auto& inputs = rq.inputs;
  // Copied only where the signature's own columns do not do.
  std::vector<Column> made;
  if (sig.columns.empty()) {  // no signature: the columns are what the request says, or what the model was fitted with
    if (!engine.feature_names().empty()) {
      for (const auto& n : engine.feature_names()) made.push_back({n, "double", DataType::fp64, true});
    } else {
      for (const auto& in : inputs) made.push_back({std::string(in.name), "double", DataType::fp64, true});
    }
  }
  const bool unnamed =
      std::any_of(sig.columns.begin(), sig.columns.end(), [](const Column& c) { return c.name.empty(); });
  if (unnamed) {
    made = sig.columns;
    for (std::size_t i = 0; i < made.size(); ++i)
      if (made[i].name.empty()) made[i].name = fmt::format("input-{}", i);
  }
  const auto& wanted = made.empty() ? sig.columns : made;
  auto by_column = inputs_by_column(wanted, inputs);
  // Columns without names take the inputs in their order, whatever those are called.
  if (unnamed && inputs.size() == wanted.size() && std::ranges::find(by_column, nullptr) != by_column.end())
    for (std::size_t i = 0; i < wanted.size(); ++i) by_column[i] = &inputs[i];
  std::string absent;
  for (std::size_t i = 0; i < wanted.size(); ++i)
    if (by_column[i] == nullptr && wanted[i].required)
      absent += fmt::format("{}'{}'", absent.empty() ? "" : ", ", printable(wanted[i].name));
  if (!absent.empty()) return refuse(fmt::format("Model is missing inputs [{}].", absent));
  FrameBuilder f(wanted.size());
  bool all_f32 = true;
  const bool remote = engine.remote();
  std::vector<std::size_t> optional;
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    const auto& c = wanted[i];
    if (by_column[i] == nullptr) {
      optional.push_back(i);
      continue;
    }
    auto& in = *by_column[i];
    bool text = sig.present && c.datatype == DataType::bytes;
    if (!sig.present) {
      auto t = is_text(*rq.data, in, c.name);
      if (!t) return std::unexpected(t.error());
      text = *t;
    }
    std::size_t rows = 0;
    if (text) {
      // Values of arrays, objects and maps stay the JSON texts that they came as: only a remote engine knows them.
      const bool json = is_json(c);
      if (sig.present && (in.type != DataType::bytes || (json && !remote)))
        return incompatible(c, c.name, in, " for this model");
      auto texts = texts_of(*rq.data, in, c.name, json ? "" : codec_of(c));
      if (!texts) return std::unexpected(texts.error());
      rows = texts->values.size();
      all_f32 = false;
      if (auto why = f.add_texts(i, std::move(*texts)); !why.empty())
        return refuse(fmt::format("the column '{}' {}", printable(c.name), why));
    } else {
      auto values = numbers_of(*rq.data, in, c.name);
      if (!values) return std::unexpected(values.error());
      if (sig.present)
        if (auto ok = check_column(c, c.name, in, *values); !ok) return std::unexpected(ok.error());
      all_f32 = all_f32 && (sig.present ? c.datatype == DataType::fp32 : in.type == DataType::fp32);
      rows = values->size();
      if (auto why = f.add_numbers(i, *values); !why.empty())
        return refuse(fmt::format("the column '{}' {}", printable(c.name), why));
    }
    if (in.shape.size() > 1 && in.shape[0] != static_cast<std::int64_t>(rows))
      return refuse(fmt::format("the input '{}' has the shape {}; a column takes (N,) or (N, 1)", printable(c.name),
                                shape_text(in.shape)));
  }
  for (auto i : optional) f.add_missing(i, wanted[i].datatype == DataType::bytes);
  std::vector<std::string> names;
  if (!unnamed) {
    names.reserve(wanted.size());
    for (const auto& c : wanted) names.push_back(c.name);
  }
  auto frame = f.finish(std::move(names), all_f32 && !wanted.empty() && optional.empty());
  if (remote) {
    for (std::size_t i = 0; i < wanted.size(); ++i)
      frame.types.push_back(by_column[i] != nullptr ? by_column[i]->type : wanted[i].datatype);
    frame.params = rq.params;
  }
  return frame;
}

Checked<Frame> frame_of_tensor(const Model& m, InferRequest& rq) {
  const auto& sig = m.loaded.signature;
  if (rq.inputs.size() != 1)
    return refuse(
        fmt::format("There was an error encoding / decoding the payload: The 'np' codec only supports a single input "
                    "tensor ({} were received)",
                    rq.inputs.size()));
  auto& in = rq.inputs[0];
  if (!sig.columns.empty()) {
    std::string names;
    for (const auto& c : sig.columns) names += fmt::format("{}'{}'", names.empty() ? "" : ", ", printable(c.name));
    return refuse(
        fmt::format("Model is missing inputs [{}]. Its signature has named columns: send one input for each, with "
                    "content_type pd or none.",
                    names));
  }
  if (sig.tensor && in.type != sig.tensor_type)
    return refuse(fmt::format("dtype of input {} ({}) does not match expected dtype {} ({})", numpy_name(in.type),
                              data_type_name(in.type), sig.tensor_dtype, data_type_name(sig.tensor_type)));
  bool text = sig.tensor && sig.tensor_type == DataType::bytes;
  if (!sig.tensor) {
    auto t = is_text(*rq.data, in, in.name);
    if (!t) return std::unexpected(t.error());
    text = *t;
  }
  std::vector<double> values;
  TextColumn texts;
  if (text) {
    auto t = texts_of(*rq.data, in, in.name, "np");
    if (!t) return std::unexpected(t.error());
    texts = std::move(*t);
  } else {
    auto v = numbers_of(*rq.data, in, in.name);
    if (!v) return std::unexpected(v.error());
    values = std::move(*v);
  }
  if (sig.tensor) {
    bool fits = in.shape.size() == sig.tensor_shape.size();
    for (std::size_t i = 0; fits && i < in.shape.size(); ++i)
      fits = sig.tensor_shape[i] == -1 || sig.tensor_shape[i] == in.shape[i];
    if (!fits)
      return refuse(fmt::format("Shape of input {} does not match expected shape {}.", shape_text(in.shape),
                                shape_text(sig.tensor_shape)));
  }
  // Vectorisers of texts take one dimension.
  const bool remote = m.loaded.engine->remote();
  bool series = text && in.shape.size() == 1;
  if (in.shape.size() != 2 && !series && !remote)
    return refuse(fmt::format("the input '{}' has the shape {}; the model takes two dimensions (rows, features)",
                              printable(in.name), shape_text(in.shape)));
  auto rows = static_cast<std::size_t>(in.shape[0]);
  auto count = text ? texts.values.size() : values.size();
  auto columns = in.shape.size() == 2 ? static_cast<std::size_t>(in.shape[1]) : rows > 0 ? count / rows : 0;
  auto described = [&](Frame f) {
    if (remote) {
      f.shape = in.shape;
      f.types.assign(1, in.type);
      f.params = rq.params;
    }
    return f;
  };
  if (text) {
    FrameBuilder f(columns);
    for (std::size_t c = 0; c < columns; ++c) {
      TextColumn one;
      for (std::size_t i = c; i < texts.values.size(); i += columns) {
        one.values.push_back(std::move(texts.values[i]));
        one.missing.push_back(texts.missing[i]);
      }
      (void)f.add_texts(c, std::move(one));
    }
    return described(f.finish({}, false));
  }
  Frame f;
  f.rows = rows;
  f.columns = columns;
  f.data = std::move(values);
  f.f32 = in.type == DataType::fp32;
  return described(std::move(f));
}

// Several named tensors, which a remote engine takes.
Checked<Frame> frame_of_tensors(const Model& m, InferRequest& rq) {
  const auto& specs = m.loaded.signature.tensors;
  Frame f;
  std::string absent;
  for (const auto& t : specs) {
    auto at = std::find_if(rq.inputs.rbegin(), rq.inputs.rend(), [&](const Input& in) { return in.name == t.name; });
    if (at == rq.inputs.rend()) {
      absent += fmt::format("{}'{}'", absent.empty() ? "" : ", ", printable(t.name));
      continue;
    }
    auto& in = *at;
    if (in.type != t.type)
      return refuse(fmt::format("dtype of input {} ({}) does not match expected dtype {} ({})", numpy_name(in.type),
                                data_type_name(in.type), t.dtype, data_type_name(t.type)));
    FrameTensor tensor;
    if (t.type == DataType::bytes) {
      auto texts = texts_of(*rq.data, in, t.name, "np");
      if (!texts) return std::unexpected(texts.error());
      tensor.texts = std::move(*texts);
    } else {
      auto values = numbers_of(*rq.data, in, t.name);
      if (!values) return std::unexpected(values.error());
      tensor.data = std::move(*values);
    }
    bool fits = in.shape.size() == t.shape.size() && !t.shape.empty();
    for (std::size_t i = 0; fits && i < t.shape.size(); ++i) fits = t.shape[i] == -1 || t.shape[i] == in.shape[i];
    if (!fits)
      return refuse(fmt::format("Shape of input '{}' {} does not match expected shape {}.", printable(t.name),
                                shape_text(in.shape), shape_text(t.shape)));
    tensor.shape = in.shape;
    f.tensors.push_back(std::move(tensor));
  }
  if (!absent.empty()) return refuse(fmt::format("Model is missing inputs [{}].", absent));
  f.rows = static_cast<std::size_t>(f.tensors[0].shape[0]);
  f.params = rq.params;
  return f;
}

}  // namespace

Checked<Frame> frame_of_request(const Model& m, InferRequest& rq) {
  const auto& sig = m.loaded.signature;
  static const std::set<std::string_view> known{"np", "pd", "str", "base64", "datetime", "pd_json", "dict"};
  for (const auto& in : rq.inputs)
    if (!in.content_type.empty() && !known.contains(in.content_type))
      return refuse(fmt::format(
          "the input '{}' has the unknown content_type '{}'; np, pd, str, base64, datetime and pd_json are known",
          printable(in.name), printable(in.content_type)));
  auto content_type = rq.content_type;
  if (!content_type.empty() && !known.contains(content_type))
    return refuse(
        fmt::format("unknown content_type '{}' of the request; np and pd are known here", printable(content_type)));
  if (!sig.tensors.empty()) {
    rq.content_type = "dict";
    return frame_of_tensors(m, rq);
  }
  if (content_type.empty()) content_type = request_codec(m);
  if (content_type.empty() && (m.bare || m.loaded.engine->remote()))
    content_type = rq.inputs.size() == 1 && rq.inputs[0].shape.size() != 1 ? "np" : "pd";
  if (content_type.empty())
    return refuse(
        "this model has no signature, so the request must say how to read its inputs: set parameters.content_type to "
        "'np' (one tensor) or 'pd' (one input for each column)");
  // A list of texts, as MLServer's codec of that name gives it.
  if (content_type == "str" && m.loaded.engine->remote() && rq.inputs.size() == 1)
    content_type = sig.columns.size() == 1 ? "pd" : "np";
  if (content_type == "dict" && sig.tensor) {  // a dict of one named tensor
    rq.content_type = content_type;
    return frame_of_tensor(m, rq);
  }
  if (content_type != "np" && content_type != "pd")
    return refuse(
        fmt::format("content_type '{}' of the request does not fit this model; np and pd do", printable(content_type)));
  rq.content_type = content_type;
  return content_type == "np" ? frame_of_tensor(m, rq) : frame_of_columns(m, rq);
}

Checked<Output> predict_request(const Model& m, InferRequest& rq) {
  auto frame = frame_of_request(m, rq);
  if (!frame) return std::unexpected(frame.error());
  auto output = run_engine(m, *frame);
  if (!output) return std::unexpected(engine_refusal(output.error(), frame->names));
  return std::move(*output);
}

}  // namespace mr::serving
