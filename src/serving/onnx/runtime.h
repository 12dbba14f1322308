// ONNX Runtime, opened at run time: its C interface is a table of functions whose order never changes, so nothing of it
// is needed to build this program. Only the worker process uses it (worker.h): the library reads hostile model files.
// Not thread safe; blocking.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "core/error.h"

namespace mr::serving::onnx {

// The library's own numbers.
enum class Element : int {
  none = 0,
  float32 = 1,
  uint8 = 2,
  int8 = 3,
  uint16 = 4,
  int16 = 5,
  int32 = 6,
  int64 = 7,
  text = 8,
  boolean = 9,
  float16 = 10,
  float64 = 11,
  uint32 = 12,
  uint64 = 13
};
enum class Kind : int { none = 0, tensor = 1, sequence = 2, map = 3, opaque = 4, sparse = 5, optional = 6 };

// What a graph takes or gives. A dimension that is not fixed is -1.
struct Port {
  std::string name;
  Kind kind = Kind::none;
  Element type = Element::none;
  std::vector<std::int64_t> shape;
};

// A tensor that goes in: `data` are its elements as they lie in memory, or `texts` stand for them.
struct Feed {
  Element type = Element::none;
  std::vector<std::int64_t> shape;
  std::string data;
  std::vector<std::string> texts;
};

// What comes out: a tensor, or the items of a sequence, or the keys and values of a map.
struct Value {
  Kind kind = Kind::none;
  Element type = Element::none;
  std::vector<std::int64_t> shape;
  std::vector<double> numbers;         // floats and truth values
  std::vector<std::int64_t> integers;  // whole numbers; UINT64 as its bits
  std::vector<std::string> texts;
  std::vector<Value> items;
};

struct SessionOptions {
  int threads = 1;          // that compute one operator
  int parallel = 1;         // operators at once
  int optimization = 99;    // the library's own levels
  bool concurrent = false;  // operators of different branches at once
};

class Session {
 public:
  // Errors: unimplemented, when the library cannot be used, or the model has what it does not know; data_loss, when the
  // model is damaged; resource_exhausted, when there is no memory for it.
  static Result<std::unique_ptr<Session>> open(const std::string& library, const std::string& model,
                                               const SessionOptions& options);
  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  [[nodiscard]] const std::string& version() const;  // of the library
  [[nodiscard]] const std::vector<Port>& inputs() const;
  [[nodiscard]] const std::vector<Port>& outputs() const;
  // One feed for each input, in their order; one value for each output. Errors: invalid_argument, when the tensors do
  // not fit the graph; resource_exhausted; internal.
  Result<std::vector<Value>> run(const std::vector<Feed>& feeds);

 private:
  struct Impl;
  explicit Session(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace mr::serving::onnx
