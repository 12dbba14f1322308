// What other rooms may use of the object store. Thread safe.
#pragma once
#include <memory>
#include <string>

#include "http/message.h"
#include "objects/signature.h"
#include "objects/store.h"

namespace mr::objects {

// Streams a body into a new object, checked and durable; no signature, for callers inside the process.
task::Task<Result<>> put_stream(Store& store, std::string bucket, std::string key, http::BodyReader& body);

// The S3 listener's handler.
http::Handler make_handler(Store& store, Credentials credentials);

}  // namespace mr::objects
