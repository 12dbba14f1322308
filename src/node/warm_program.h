// The program of a waiting interpreter (warm.h), as text. Internal to node/.
#pragma once

namespace mr::node {

extern const char* const kWarmProgram;

}  // namespace mr::node
