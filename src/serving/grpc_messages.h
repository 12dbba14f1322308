// Messages of the V2 protocol over gRPC: read from and written to their wire form. Internal to the room. Views live as
// long as the bytes they were read from. Pure functions.
#pragma once
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "serving/v2_request.h"

namespace mr::serving {

// ModelInferRequest.
struct GrpcInfer {
  std::string model, version;
  InferRequest request;
  bool raw = false;  // its tensors came as raw_input_contents, and so does the answer
  std::unique_ptr<InputData> data;
};
Checked<GrpcInfer> read_infer(std::string_view message);
// ModelInferResponse.
std::string write_infer(const Model& model, const GrpcInfer& asked, std::string_view content_type,
                        std::vector<OutputPart> parts);

// A request with two texts: ModelReady, ModelMetadata, ModelStatistics (name 1, version 2), RepositoryModelLoad and
// -Unload (repository 1, model 2).
std::optional<std::pair<std::string, std::string>> read_two_texts(std::string_view message);
// RepositoryIndexRequest: whether only ready models are asked for.
std::optional<bool> read_index(std::string_view message);

std::string write_flag(bool v);  // {live} or {ready}
std::string write_server_metadata();
std::string write_model_metadata(const Model& model);
std::string write_index(const std::vector<Repository::IndexEntry>& entries);
std::string write_statistics(const std::vector<std::shared_ptr<const Model>>& models);

}  // namespace mr::serving
