export { ResourceList as default } from "./resources";
