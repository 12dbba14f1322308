// The serving room's nouns: data types of the Open Inference Protocol, frames, outputs, signatures. Plain values.
#pragma once
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/error.h"

namespace mr::task {
class Pool;
}

namespace mr::serving {

enum class DataType : std::uint8_t {
  boolean,
  uint8,
  uint16,
  uint32,
  uint64,
  int8,
  int16,
  int32,
  int64,
  fp16,
  fp32,
  fp64,
  bytes
};
std::string_view data_type_name(DataType t);                     // "FP64"
std::optional<DataType> parse_data_type(std::string_view name);  // case-sensitive, as MLServer
inline bool is_float(DataType t) { return t == DataType::fp16 || t == DataType::fp32 || t == DataType::fp64; }

// A text from outside, safe to print: control characters escaped, at most 200 bytes.
std::string printable(std::string_view s);

// A column of texts beside the numbers. missing[row] is 1 for None, NaN or pandas.NA.
struct TextColumn {
  std::vector<std::string> values;
  std::vector<std::uint8_t> missing;
};

// One of several named tensors.
struct FrameTensor {
  std::vector<std::int64_t> shape;  // its rows first
  std::vector<double> data;
  TextColumn texts;  // instead of data
};

// What an engine computes on: rows of numbers, row-major. f32: the values came as 32-bit floats, and scalers keep them
// so. A column of texts is in `texts` under its index, and its cells in `data` are NaN. A frame may be sparse instead
// (CSR: row r holds indices[starts[r]] .. indices[starts[r+1] - 1], ascending): then `data` and `texts` are empty.
struct Frame {
  std::size_t rows = 0;
  std::size_t columns = 0;
  std::vector<double> data;
  bool f32 = false;
  std::map<std::size_t, TextColumn> texts;
  std::vector<std::string> names;  // of the columns, or empty: ColumnTransformer selects by them
  bool sparse = false;
  std::vector<std::size_t> starts;  // rows + 1
  std::vector<std::uint32_t> indices;
  std::vector<double> values;
  // What engines outside this process can use besides; native ones pass over it.
  std::vector<DataType> types;       // of the columns as the request gave them, or empty: all are floats
  std::vector<std::int64_t> shape;   // of one tensor, its rows first; empty: {rows, columns}
  std::vector<std::size_t> absent;   // optional columns that the request leaves out: their cells are missing values
  std::vector<FrameTensor> tensors;  // of a signature of several, in its order; nothing else of the frame counts then
  std::string params;                // the request's parameters for the model, as the text of a JSON object, or empty
};

// One array of an answer that has several (the columns of a DataFrame, a dict), or a shape of its own.
struct OutputPart {
  std::string name;
  std::string content_type;  // np, str, pd_json (each text is a JSON value); empty: none is said
  DataType type = DataType::fp64;
  std::vector<std::int64_t> shape;
  std::vector<double> numbers;
  std::vector<std::int64_t> integers;  // instead of `numbers` for INT64 and UINT64 (as bits), which doubles cannot hold
  std::vector<std::string> texts;      // for bytes
};

// What an engine gives: rows of `width` values each; or, when `parts` is not empty, those, and nothing else here counts
// but `form`.
struct Output {
  DataType type = DataType::fp64;
  std::size_t rows = 0;
  std::size_t width = 1;
  std::vector<double> numbers;
  std::vector<std::string> texts;  // for bytes
  // array: one tensor. frame: parts are columns. dict: parts are named arrays. list: one part of texts, each a JSON
  // value. value: one part with one text, a JSON value that is no list of rows. arrays: parts are arrays one after the
  // other, each of all rows.
  enum class Form : std::uint8_t { array, frame, dict, list, value, arrays } form = Form::array;
  std::vector<OutputPart> parts;
};

// What an engine that speaks MLflow's scoring protocol itself gives.
struct ScoringAnswer {
  int status = 200;
  bool json = true;  // else a plain text
  std::string body;
};

class Engine {
 public:
  virtual ~Engine() = default;
  // Thread safe. Errors (invalid_argument): the values cannot be used, naming the column by its index as "#3".
  // A remote engine also gives resource_exhausted (its queue is full: 429), unavailable (503), deadline_exceeded (504),
  // internal (the model's own code failed: 500).
  [[nodiscard]] virtual Result<Output> predict(const Frame& frame) const = 0;
  // Whether score() can be asked: a model's own library reads requests by the rules of its own release.
  [[nodiscard]] virtual bool scores() const { return false; }
  // A request of MLflow's scoring protocol as it came. Errors as of predict().
  [[nodiscard]] virtual Result<ScoringAnswer> score(std::string_view content_type, std::string_view body) const;
  // True: predict() waits for another process, so it must not be called on a loop or on the compute pool (see
  // compute() in exchange.h).
  [[nodiscard]] virtual bool remote() const { return false; }
  // Whether it is the model's own library, so that there is nothing to compare its answers with.
  [[nodiscard]] virtual bool original() const { return remote(); }
  // The threads on which its requests wait: a remote engine's own, so that a slow one is in nobody's way.
  [[nodiscard]] virtual task::Pool* waiting() const { return nullptr; }
  [[nodiscard]] virtual std::size_t features() const = 0;  // 0: takes what comes
  // Names the model was fitted with, or empty.
  [[nodiscard]] virtual const std::vector<std::string>& feature_names() const = 0;
  [[nodiscard]] virtual std::string description() const = 0;
  // Bytes that it takes in this process, about; 0: it does not know.
  [[nodiscard]] virtual std::size_t memory() const { return 0; }
};

struct Column {
  std::string name;
  std::string type;  // MLflow's: double, long, …
  DataType datatype = DataType::fp64;
  bool required = true;
};
struct TensorSpec {
  std::string name;
  std::string dtype;  // numpy's name
  DataType type = DataType::fp64;
  std::vector<std::int64_t> shape;
};
struct Signature {
  bool present = false;
  std::vector<Column> columns;  // a column schema
  bool tensor = false;          // or one tensor
  std::string tensor_name;
  DataType tensor_type = DataType::fp64;
  std::string tensor_dtype;  // numpy's name
  std::vector<std::int64_t> tensor_shape;
  std::vector<TensorSpec> tensors;  // or several: only remote engines take them
  bool type_hint = false;           // MLflow made it from the type hint of a function, which reads the data itself
  struct Out {
    std::string name;
    DataType type = DataType::fp64;
    std::vector<std::int64_t> shape;
    std::string content_type;
  };
  std::vector<Out> outputs;
};

}  // namespace mr::serving
