"""As tool: an RLM that an agent asks by a tool call: its runs, what the agent gets, the tool."""
