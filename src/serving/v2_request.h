// One V2 inference request whatever wire it came by (JSON, JSON with binary tensors, gRPC), and what is made of it.
// Internal to the room. Ownership: views in a request live as long as the bytes it was read from. Thread safe: plain
// values and pure functions.
#pragma once
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "serving/v2.h"

namespace mr::serving {

inline constexpr std::size_t kMaxValues = 64U << 20;      // of one request
inline constexpr std::size_t kMaxInputs = 100'000;        // of one request
inline constexpr std::size_t kMaxDimensions = 32;         // of one shape
inline constexpr std::size_t kMaxTextBytes = 256U << 20;  // of all texts of one input

template <class T>
using Checked = std::expected<T, Refusal>;
inline std::unexpected<Refusal> refuse(std::string_view text) { return std::unexpected(refusal(400, text)); }

struct Input {
  std::string_view name;
  DataType type = DataType::fp64;
  std::vector<std::int64_t> shape;
  std::string_view content_type;
  std::size_t index = 0;  // of its values in the request's InputData
};

// The values of a request's inputs as they came. `column` is how errors call the input.
class InputData {
 public:
  virtual ~InputData() = default;
  // Appends the values in row-major order as numbers within the input's data type (BYTES: texts that read as numbers).
  [[nodiscard]] virtual Checked<bool> numbers(const Input& in, std::string_view column,
                                              std::vector<double>& out) const = 0;
  // Appends the values of a BYTES input.
  [[nodiscard]] virtual Checked<bool> texts(const Input& in, std::string_view column, TextColumn& out) const = 0;
};

struct WantedOutput {
  std::string_view name;
  std::optional<bool> binary;  // parameters.binary_data
};

struct InferRequest {
  std::optional<std::string> id;
  std::string_view content_type;  // parameters.content_type
  std::vector<Input> inputs;
  std::vector<WantedOutput> outputs;
  bool binary_output = false;  // parameters.binary_data_output
  std::string params;          // the other parameters, as the text of a JSON object, or empty
  const InputData* data = nullptr;
};

// Reads a JSON body; `binary` is what follows it (Inference-Header-Content-Length), tensor after tensor. The request
// and its data are valid until this thread reads the next one, and as long as both texts.
struct JsonRequest {
  InferRequest request;
  std::unique_ptr<InputData> data;
};
Checked<JsonRequest> read_json_request(std::string_view body, std::string_view binary);

// The frame that the engine computes on: by the model's signature and MLServer's codec rules.
Checked<Frame> frame_of_request(const Model& model, InferRequest& request);
// The same and the engine's answer. Errors name the column.
Checked<Output> predict_request(const Model& model, InferRequest& request);

// An engine's answer as its named arrays: a plain one becomes one part.
std::vector<OutputPart> parts_of(const Model& model, const InferRequest& request, Output output);
// The content type that the whole answer says.
std::string_view answer_content_type(const Output& output);

// Raw tensors, little-endian without padding; a BYTES element has its length in front.
Checked<bool> numbers_of_raw(const Input& in, std::string_view column, std::string_view raw, std::vector<double>& out);
Checked<bool> texts_of_raw(std::string_view column, std::string_view raw, TextColumn& out);
std::string raw_of(const OutputPart& part);

// A text that Python reads as a number: "850", " 1e3 ", "+4", "nan".
std::optional<double> number_of_text(std::string_view text);
bool in_range(DataType type, double v);

}  // namespace mr::serving
