def run(plan, machine):
    return []
